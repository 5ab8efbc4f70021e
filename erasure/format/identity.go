package format

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"slices"
	"strings"

	"github.com/shoal-storage/shoal/internal/vfs"
)

// identityVersion is the version of the identity and of what is beside it. A program that knows less would
// write to the drive without what belongs there, and is to refuse it: so it is raised before that is written.
//
//	2 the log of what other drives may have missed
//	3 the numbers of starts, marks of damaged shards and of those that nothing refers to
const identityVersion = 3

// Identity says what a drive is.
type Identity struct {
	Version    int      `json:"version"`
	Deployment string   `json:"deployment"`
	Drive      string   `json:"drive"`
	Set        []string `json:"set"`               // the drives of its set, in the order of their slots
	Number     int      `json:"number,omitempty"`  // of its set: no other one had it or will have it
	Of         int      `json:"of,omitempty"`      // how many numbers were given when it was formed; 0: one
	Epoch      uint32   `json:"epoch,omitempty"`   // of Set: raised when a drive stands for another one, where several nodes have drives
	Forming    bool     `json:"forming,omitempty"` // not all of its drives are known to have theirs
	Boot       uint32   `json:"boot"`              // raised with every start of the deployment, on all its drives
	OnRoot     bool     `json:"on_root,omitempty"` // it was formed on the device of the root directory
	Mounted    bool     `json:"mounted,omitempty"` // it was the root of a file system when it was formed
	Blank      bool     `json:"blank,omitempty"`   // it stands for another one, and has not all of that yet
	Roster     *Roster  `json:"roster,omitempty"`  // that it was told of (Known)

	Start  uint32            `json:"start,omitempty"`  // how often it was started
	Starts map[string]uint32 `json:"starts,omitempty"` // the same of the other drives of its set, as was seen last
}

// maxIdentity bounds an identity, in bytes.
const maxIdentity = 64 << 10

// errIdentity says that an identity is damaged, or of a later version.
var errIdentity = errors.New("the identity of the drive cannot be read")

func readIdentity(root vfs.Dir) (*Identity, error) {
	f, err := root.Open(systemDir + "/" + identityName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	b := make([]byte, maxIdentity)
	n, err := f.ReadAt(b, 0)
	if closed := f.Close(); closed != nil || n == 0 {
		return nil, fmt.Errorf("%w: %w", errIdentity, errors.Join(err, closed))
	}
	return decodeIdentity(b[:n])
}

// encode returns the identity: a line of JSON, and one with the CRC-32C of the first.
func (id *Identity) encode() ([]byte, error) {
	b, err := json.Marshal(id)
	if err != nil {
		return nil, fmt.Errorf("encode identity: %w", err)
	}
	return fmt.Appendf(nil, "%s\n%08x\n", b, crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli))), nil
}

func decodeIdentity(b []byte) (*Identity, error) {
	line, rest, ok := strings.Cut(string(b), "\n")
	if !ok || strings.TrimSuffix(rest, "\n") != fmt.Sprintf("%08x", crc32.Checksum([]byte(line), crc32.MakeTable(crc32.Castagnoli))) {
		return nil, errIdentity
	}
	id := &Identity{}
	if err := json.Unmarshal([]byte(line), id); err != nil {
		return nil, fmt.Errorf("%w: %w", errIdentity, err)
	}
	if id.Version < 1 || id.Version > identityVersion || id.Deployment == "" || !slices.Contains(id.Set, id.Drive) || id.Number < 0 {
		return nil, fmt.Errorf("%w: it has version %d, this program knows %d", errIdentity, id.Version, identityVersion)
	}
	return id, nil
}
