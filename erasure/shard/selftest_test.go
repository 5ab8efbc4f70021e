package shard

import (
	"errors"
	"strings"
	"testing"
)

// What is written on one machine is read on another one, and by later versions: this fails if any of
// them computes other shards (make test-arm).
func TestEveryMachineComputesTheSameShards(t *testing.T) {
	if err := SelfTest(); err != nil {
		t.Error(err)
	}
}

func TestAMachineThatComputesOtherShardsIsFound(t *testing.T) {
	err := Geometry{K: 2, M: 2}.selfTest(0xa3fcf4e5942d37bd ^ 1)
	if err == nil || !strings.Contains(err.Error(), "0xa3fcf4e5942d37bd, not 0xa3fcf4e5942d37bc") {
		t.Error(err)
	}
	if errors.Is(err, errComputes) {
		t.Error("it says so twice")
	}
}

func BenchmarkSelfTest(b *testing.B) {
	for b.Loop() {
		if err := SelfTest(); err != nil {
			b.Fatal(err)
		}
	}
}
