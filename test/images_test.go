package test

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// image is what docker save has written.
type image struct {
	OS, Architecture, Variant string
	Config                    struct {
		User            string
		Entrypoint, Cmd []string
		Env             []string
		ExposedPorts    map[string]struct{}
		Healthcheck     struct{ Test []string }
	}
	files map[string]*tar.Header
	shoal []byte // the program
}

func readImage(t *testing.T, path string) *image {
	t.Helper()
	f, err := os.Open(path)
	must(t, err)
	defer f.Close()
	saved := make(map[string][]byte)
	eachFile(t, f, func(h *tar.Header, content []byte) { saved[h.Name] = content })
	var manifest []struct {
		Config string
		Layers []string
	}
	must(t, json.Unmarshal(saved["manifest.json"], &manifest))
	img := &image{files: make(map[string]*tar.Header)}
	must(t, json.Unmarshal(saved[manifest[0].Config], img))
	for _, layer := range manifest[0].Layers {
		eachFile(t, bytes.NewReader(saved[layer]), func(h *tar.Header, content []byte) {
			name := "/" + strings.Trim(h.Name, "./")
			if img.files[name] = h; name == "/shoal" {
				img.shoal = content
			}
		})
	}
	return img
}

func eachFile(t *testing.T, r io.Reader, f func(h *tar.Header, content []byte)) {
	t.Helper()
	for archive := tar.NewReader(r); ; {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		must(t, err)
		content, err := io.ReadAll(archive)
		must(t, err)
		f(h, content)
	}
}

// TestImagesAreWhatTheySay looks at what make images has built, and serves from it.
func TestImagesAreWhatTheySay(t *testing.T) {
	dir := os.Getenv("SHOAL_TEST_IMAGES")
	if dir == "" {
		t.Skip("needs images: make images")
	}
	for _, c := range []struct {
		file, architecture, variant, emulator string
		machine                               elf.Machine
	}{
		{"amd64", "amd64", "", "", elf.EM_X86_64},
		{"arm64", "arm64", "", "qemu-aarch64-static", elf.EM_AARCH64},
		{"armv7", "arm", "v7", "qemu-arm-static", elf.EM_ARM},
	} {
		t.Run(c.file, func(t *testing.T) {
			img := readImage(t, filepath.Join(dir, c.file+".tar"))
			if img.OS != "linux" || img.Architecture != c.architecture || img.Variant != c.variant {
				t.Errorf("it is for %s/%s/%s", img.OS, img.Architecture, img.Variant)
			}
			if img.Config.User != "65532:65532" {
				t.Errorf("it runs as %q", img.Config.User)
			}
			if !slices.Equal(img.Config.Healthcheck.Test, []string{"CMD", "/shoal", "health"}) {
				t.Errorf("its health check is %q", img.Config.Healthcheck.Test)
			}
			for name, h := range img.files {
				if name != "/" && name != "/shoal" && (name != "/tmp" || h.Mode&0o7777 != 0o1777) {
					t.Errorf("it holds %s, mode %o", name, h.Mode)
				}
			}
			checkProgram(t, img.shoal, c.machine)
			serveFrom(t, img, c.emulator)
		})
	}
}

// checkProgram reports what is wrong with a program that is to run alone on a machine.
func checkProgram(t *testing.T, program []byte, machine elf.Machine) {
	t.Helper()
	p, err := elf.NewFile(bytes.NewReader(program))
	must(t, err)
	if p.Machine != machine {
		t.Errorf("the program is for %v", p.Machine)
	}
	if libraries, err := p.ImportedLibraries(); err == nil && len(libraries) > 0 || p.Section(".interp") != nil {
		t.Errorf("the program needs %v, and who loads it", libraries)
	}
}

// serveFrom runs the program of an image, puts objects and gets them.
func serveFrom(t *testing.T, img *image, emulator string) {
	t.Helper()
	program := filepath.Join(t.TempDir(), "shoal")
	must(t, os.WriteFile(program, img.shoal, 0o755))
	if emulator != "" {
		path, err := exec.LookPath(emulator)
		must(t, err)
		bare := program + ".bin"
		must(t, os.Rename(program, bare))
		must(t, os.WriteFile(program, []byte("#!/bin/sh\nexec "+path+" "+bare+" \"$@\"\n"), 0o755))
	}
	t.Setenv("SHOAL_TEST_BINARY", program)
	for what, dirs := range map[string][]string{
		"files":  {t.TempDir()},
		"drives": {t.TempDir(), t.TempDir(), t.TempDir(), t.TempDir()},
	} {
		t.Run(what, func(t *testing.T) {
			s := startOn(t, dirs[0], dirs[1:]...)
			c, bucket, key := newS3(s), aws.String("bucket"), aws.String("dir/key")
			_, err := c.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: bucket})
			must(t, err)
			for _, size := range []int{0, 100, 5<<20 + 1} {
				content := strings.Repeat("x", size)
				_, err = c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: bucket, Key: key, Body: strings.NewReader(content)})
				must(t, err)
				got, err := readS3(c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: bucket, Key: key}))
				if err != nil || string(got) != content {
					t.Errorf("of %d bytes come %d: %v", size, len(got), err)
				}
			}
		})
	}
}
