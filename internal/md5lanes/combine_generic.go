//go:build !amd64 || purego

package md5lanes

// combiners are none: each stream is summed by itself.
type combiners struct{}

// job is nothing that could be handed over.
type job struct{}

func newJob() job { return job{} }

// sum adds whole blocks to the sum of a stream. The caller holds s.mu.
func (combiners) sum(s *Sum, blocks []byte) { s.hash.Write(blocks) }
