package doctor

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/shoal-storage/shoal/internal/vfs"
)

// Act is one thing that a client of a tree is to do, in a directory of its own.
type Act struct {
	Do      string `json:"do"`
	Name    string `json:"name,omitempty"`
	Content string `json:"content,omitempty"`
	Plain   bool   `json:"plain,omitempty"` // as other programs do, without what Shoal does to see what is there
}

// What an Act can be.
const (
	Make     = "make"     // the directory
	Clear    = "clear"    // remove it, and all in it
	Put      = "put"      // a file with Content, in one step, in place of what is there
	Take     = "take"     // remove a file
	Look     = "look"     // read a file
	List     = "list"     // look for its name in the directory
	Identify = "identify" // tell who the client is
)

// Seen is what came of an Act.
type Seen struct {
	There   bool      `json:"there,omitempty"`
	Content string    `json:"content,omitempty"`
	Clock   time.Time `json:"clock,omitzero"`
	Client  Identity  `json:"client,omitzero"`
	Error   string    `json:"error,omitempty"`
}

// Identity tells clients of a file server apart.
type Identity struct {
	Host   string `json:"host"`
	Kernel string `json:"kernel"` // this start of it
	Net    string `json:"net"`    // network namespace
	Device uint64 `json:"device"` // the tree's, in this kernel
	Type   string `json:"type"`   // of the file system
}

// Hand acts for a client of a tree.
type Hand interface {
	Act(ctx context.Context, a Act) (Seen, error)
}

// Client is a Hand on this host.
type Client struct {
	Root  vfs.Dir // as gateways see the tree
	Plain vfs.Dir // as other programs do; nil: as Root
	Mount Mount
	Dir   string // name of the directory to act in, below the root
}

// DirPrefix begins the name of each directory that doctors work in.
const DirPrefix = ".shoal-doctor-"

// left is how long the directory of a doctor may stand without a change before it is
// taken for one that a doctor has left behind.
const left = time.Hour

// Sweep removes what doctors that died have left behind.
func Sweep(ctx context.Context, root vfs.Dir, now time.Time) error {
	entries, err := root.ReadDir()
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if !strings.HasPrefix(e.Name, DirPrefix) || !e.Type.IsDir() {
			continue
		}
		st, err := root.Stat(e.Name)
		if err == nil && now.Sub(st.Mtime) > left {
			_, err = (&Client{Root: root, Dir: e.Name}).Act(ctx, Act{Do: Clear})
		}
		if !absent(err) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// maxContent bounds what a file may hold, in bytes.
const maxContent = 1 << 10

// Act implements Hand. What others ask for is held to the client's directory.
func (c *Client) Act(_ context.Context, a Act) (seen Seen, err error) {
	if !isPlainName(c.Dir) || !strings.HasPrefix(c.Dir, DirPrefix) || a.Name != "" && !isPlainName(a.Name) || len(a.Content) > maxContent {
		return seen, errors.New("that is not to be done here")
	}
	root := c.Root
	if a.Plain && c.Plain != nil {
		root = c.Plain
	}
	switch a.Do {
	case Make:
		err = c.make()
	case Clear:
		err = c.clear()
	case Put:
		err = c.put(a)
	case Take:
		err = c.take(a.Name)
	case Look:
		seen.Content, seen.There, err = look(root, c.Dir+"/"+a.Name)
	case List:
		seen.There, err = list(root, c.Dir, a.Name)
	case Identify:
		seen.Client, err = c.identify()
		seen.Clock = time.Now()
	default:
		err = fmt.Errorf("%q is not known here: run the same version on both hosts", a.Do)
	}
	return seen, err
}

// isPlainName reports whether a name is one that doctors give.
func isPlainName(name string) bool {
	return name != "" && len(name) < 64 && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-.") == "" && strings.Trim(name, ".") != ""
}

func (c *Client) make() error {
	err := c.Root.Mkdir(c.Dir, 0o700)
	if err == nil {
		err = c.Root.Sync()
	}
	return err
}

func (c *Client) clear() error {
	dir, err := c.Root.OpenDir(c.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(empty(dir), dir.Close(), c.Root.Rmdir(c.Dir))
}

func (c *Client) put(a Act) error {
	dir, err := c.Root.OpenDir(c.Dir)
	if err != nil {
		return err
	}
	defer dir.Close() //nolint:errcheck // a directory's handle
	temp := "staged-" + strings.ToLower(rand.Text()[:10])
	f, err := dir.Create(temp, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write([]byte(a.Content))
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = dir.Rename(temp, dir, a.Name)
	}
	if err != nil {
		return errors.Join(err, dir.Remove(temp))
	}
	return synced(dir)
}

func (c *Client) take(name string) error {
	dir, err := c.Root.OpenDir(c.Dir)
	if err != nil {
		return err
	}
	defer dir.Close() //nolint:errcheck // a directory's handle
	if err := dir.Remove(name); err != nil {
		return err
	}
	return synced(dir)
}

// synced makes what was changed durable, and seen by others.
func synced(dir vfs.Dir) error {
	if err := dir.Sync(); !errors.Is(err, vfs.ErrUnsupported) {
		return err
	}
	return nil
}

// absent reports whether there is no file, which is not an error here. A handle of a
// file or directory that was removed is stale.
func absent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESTALE)
}

func look(root vfs.Dir, path string) (content string, there bool, err error) {
	f, err := root.Open(path)
	if absent(err) {
		return "", false, nil
	}
	if err != nil {
		return "", false, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	st, err := f.Stat()
	if err != nil {
		return "", false, err
	}
	b := make([]byte, min(st.Size, maxContent))
	if _, err = f.ReadAt(b, 0); absent(err) {
		return "", false, nil
	}
	return string(b), true, err
}

func list(root vfs.Dir, path, name string) (there bool, err error) {
	dir, err := root.OpenDir(path)
	if absent(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer dir.Close() //nolint:errcheck // a directory's handle
	entries, err := dir.ReadDir()
	for _, e := range entries {
		there = there || e.Name == name
	}
	return there, err
}

func (c *Client) identify() (id Identity, err error) {
	st, err := c.Root.Stat(".")
	if err != nil {
		return id, err
	}
	id = Identity{Device: st.Dev, Type: c.Mount.Type}
	// Where the system does not tell, nobody is taken for somebody else.
	id.Host, _ = os.Hostname()
	id.Net, _ = os.Readlink("/proc/self/ns/net")
	boot, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	id.Kernel = strings.TrimSpace(string(boot))
	return id, nil
}
