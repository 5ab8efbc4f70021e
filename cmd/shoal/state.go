package main

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/shoal-storage/shoal/internal/vfs"
	"github.com/shoal-storage/shoal/nasfs"
)

// state is the directory for what this host keeps: the credentials it made, and
// which trees it served. It holds nothing that the tree cannot do without.
type state struct {
	dir string
}

// stateDirectory returns the path of the state directory, that which is named or else the
// default.
func stateDirectory(dir string) (string, error) {
	if dir == "" {
		dir = os.Getenv("STATE_DIRECTORY") // systemd.exec(5)
	}
	if dir != "" {
		return dir, nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", failed("cannot find a state directory", err, "name one with --state-dir")
	}
	return filepath.Join(home, ".local", "state", "shoal"), nil
}

func openState(dir string) (*state, error) {
	dir, err := stateDirectory(dir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, failed("cannot make the state directory", err, "name another with --state-dir")
	}
	return &state{dir: dir}, nil
}

// write replaces a file of the state directory, readable for this user only.
func (s *state) write(name string, content []byte) error {
	path := filepath.Join(s.dir, name)
	tmp := path + ".new"
	err := os.WriteFile(tmp, content, 0o600)
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		return failed("cannot write "+path, err, "name another directory with --state-dir")
	}
	return nil
}

const ownCredentialsFile = "root.env"

// ownCredentials returns the credentials that were made at the first start
// without any; it makes them if this is the first.
func (s *state) ownCredentials() (credentials, error) {
	creds, err := s.keptCredentials()
	if err == nil && creds.user == "" {
		return s.makeCredentials()
	}
	return creds, err
}

// keptCredentials returns those credentials, zero if none have been made.
func (s *state) keptCredentials() (credentials, error) {
	path := filepath.Join(s.dir, ownCredentialsFile)
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return credentials{}, nil
	}
	if err != nil {
		return credentials{}, failed("cannot read "+path, err, readRemedy(err))
	}
	env := readEnvironment(strings.Split(string(content), "\n"))
	creds, err := env.credentials()
	if err != nil || creds.user == "" {
		return credentials{}, failed(path+" holds no credentials", err, "remove it to have new ones made")
	}
	creds.source = path
	return creds, nil
}

func (s *state) makeCredentials() (credentials, error) {
	secret := make([]byte, 20)
	if _, err := rand.Read(secret); err != nil {
		return credentials{}, failed("cannot make a password", err, "set SHOAL_ROOT_USER and SHOAL_ROOT_PASSWORD")
	}
	creds := credentials{
		user:     "admin",
		password: strings.ToLower(base32.StdEncoding.EncodeToString(secret)),
		source:   filepath.Join(s.dir, ownCredentialsFile),
	}
	return creds, s.write(ownCredentialsFile, fmt.Appendf(nil, "SHOAL_ROOT_USER=%s\nSHOAL_ROOT_PASSWORD=%s\n", creds.user, creds.password))
}

const treesFile = "trees.json"

// trees returns which deployment was served from which path.
func (s *state) trees() (map[string]string, error) {
	trees := map[string]string{}
	path := filepath.Join(s.dir, treesFile)
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return trees, nil
	}
	if err == nil {
		err = json.Unmarshal(content, &trees)
	}
	if err != nil {
		return nil, failed("cannot read "+path, err, "remove it if it is damaged")
	}
	return trees, nil
}

// checkMount refuses a path that was served before and now holds something
// else: most often a mount is missing, and what is written would fill the disk
// below the mount point.
func (s *state) checkMount(path string) error {
	trees, err := s.trees()
	if err != nil {
		return err
	}
	before, known := trees[path]
	if !known {
		return nil
	}
	now, err := identity(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return failed("cannot look at "+path, err, "")
	}
	if now == before {
		return nil
	}
	what := " holds another tree than the one that was served from it the last time"
	if now == "" {
		what = " does not hold the tree that was served from it the last time: it is probably not mounted"
	}
	return unsafe(path+what, "mount the right one, or if this is meant, remove its line from "+filepath.Join(s.dir, treesFile))
}

// rememberMount notes which deployment is served from the path.
func (s *state) rememberMount(path string) error {
	trees, err := s.trees()
	if err != nil {
		return err
	}
	id, err := identity(path)
	if err != nil {
		return failed("cannot look at "+path, err, "")
	}
	if trees[path] == id {
		return nil
	}
	trees[path] = id
	content, err := json.MarshalIndent(trees, "", "  ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", treesFile, err)
	}
	return s.write(treesFile, append(content, '\n'))
}

func identity(path string) (id string, err error) {
	root, err := vfs.OpenRoot(path)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	return nasfs.Identity(root)
}

// checkPath refuses a path that is no directory.
func checkPath(path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return unsafe(path+" does not exist", "mount it, or make it: mkdir -p "+path)
	case err != nil:
		return failed("cannot look at "+path, err, "")
	case !info.IsDir():
		return unsafe(path+" is not a directory", "name a directory")
	}
	return nil
}
