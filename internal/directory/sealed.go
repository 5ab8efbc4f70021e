package directory

import "context"

// Sealed are further records of the control plane, sealed as those of the users are. Its
// methods may be called concurrently.
type Sealed struct{ d *Directory }

// Sealed returns them; there must be Records.
func (d *Directory) Sealed() Sealed { return Sealed{d} }

// Get returns what a record holds, nil if there is none, and its revision, as Records has
// it.
func (s Sealed) Get(name string) (content []byte, revision uint64, err error) {
	sealed, revision, err := s.d.cfg.Records.Get(name)
	if err != nil || sealed == nil {
		return nil, revision, err //nolint:wrapcheck // the question is the caller's own
	}
	content, err = s.d.vault.open(name, sealed)
	return content, revision, err
}

// Set changes a record, as Records has it.
func (s Sealed) Set(ctx context.Context, name string, content []byte, revision uint64) error {
	sealed, err := s.d.vault.seal(ctx, name, content)
	if err != nil {
		return err
	}
	return s.d.cfg.Records.Set(ctx, name, sealed, revision) //nolint:wrapcheck // the change is the caller's own
}
