package keypath_test

import (
	"flag"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/shoal-storage/shoal/nasfs/keypath"
)

var seedFlag = flag.Uint64("seed", 0, "seed of the random tests; 0 takes one from the clock")

func newRand(t *testing.T) *rand.Rand {
	t.Helper()
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("-seed=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// rounds returns how often a test tries something that it would try n times:
// with -short a fifth of that.
func rounds(n int) int {
	if testing.Short() {
		return n / 5
	}
	return n
}

// codecs are the profiles that every law is held against.
func codecs() map[string]keypath.Codec {
	return map[string]keypath.Codec{"POSIX": {}, "short names": {NameMax: 40}, "SMB": {SMB: true}, "SMB short": {SMB: true, NameMax: 33}}
}

func TestPathOfAKey(t *testing.T) {
	long := strings.Repeat("x", 600)
	for _, tt := range []struct{ key, path, alias string }{
		{"a/b.txt", "a/b.txt", "a/=f=b.txt"},
		{"a", "a", "=f=a"},
		{"a/", "a/=0=", "a/=f==0="},
		{"a//", "a/=0=/=0=", "a/=0=/=f==0="},
		{"a//b", "a/=0=/b", "a/=0=/=f=b"},
		{"/a", "=0=/a", "=0=/=f=a"},
		{"/", "=0=/=0=", "=0=/=f==0="},
		{".", "=e=%2E", "=f==e=%2E"},
		{"..", "=e=%2E%2E", "=f==e=%2E%2E"},
		{"...", "...", "=f=..."},
		{"a/../b", "a/=e=%2E%2E/b", "a/=e=%2E%2E/=f=b"},
		{"a/./b", "a/=e=%2E/b", "a/=e=%2E/=f=b"},
		{"a\x01b", "=e=a%01b", "=f==e=a%01b"},
		{"a\x00b", "=e=a%00b", "=f==e=a%00b"},
		{"a\xffb", "=e=a%FFb", "=f==e=a%FFb"},
		{"50%", "50%", "=f=50%"},
		{"ü/日本", "ü/日本", "ü/=f=日本"},
		{"dt=2026-01-01/x", "dt=2026-01-01/x", "dt=2026-01-01/=f=x"},
		{"=x", "=x", "=f==x"},
		{"=e=a", "=e=%3De=a", "=f==e=%3De=a"},
		{"=0=", "=e=%3D0=", "=f==e=%3D0="},
		{"=f=a", "=e=%3Df=a", "=f==e=%3Df=a"},
		{"=l=a/=m=b", "=e=%3Dl=a/=e=%3Dm=b", "=e=%3Dl=a/=f==e=%3Dm=b"},
		{"=b=a", "=e=%3Db=a", "=f==e=%3Db=a"},
		{"=b=%01", "\x01", "=f=\x01"},
		{"=b=%3De=a", "=e=a", "=f==e=a"},
		{".shoal.sys/x", "=e=%2Eshoal.sys/x", "=e=%2Eshoal.sys/=f=x"},
		{".nfs0123456789abcdef", "=e=%2Enfs0123456789abcdef", "=f==e=%2Enfs0123456789abcdef"},
		{".nfs-config", ".nfs-config", "=f=.nfs-config"},
		{"lost+found", "=e=%6Cost+found", "=f==e=%6Cost+found"},
		{long, "=l=" + long[:252] + "/=l=" + long[:252] + "/=m=" + long[:96], "=l==f=" + long[:249] + "/=l=" + long[:252] + "/=m=" + long[:99]},
	} {
		c := keypath.Codec{}
		if got := c.Path(tt.key); got != tt.path {
			t.Errorf("Path(%q) = %q, want %q", tt.key, got, tt.path)
		}
		if got := c.Alias(tt.key); got != tt.alias {
			t.Errorf("Alias(%q) = %q, want %q", tt.key, got, tt.alias)
		}
	}
}

func TestSMBEscapesWhatWindowsRefuses(t *testing.T) {
	c := keypath.Codec{SMB: true}
	for key, want := range map[string]string{
		"a:b": "=e=a%3Ab", `a\b`: "=e=a%5Cb", "a.": "=e=a%2E", "a ": "=e=a%20", "con": "=e=%63on", "NUL.txt": "=e=%4EUL.txt",
		"COM1": "=e=%43OM1", "COM0": "COM0", "console": "console", "a b.c": "a b.c", "=b=%5C": "=e=%3Db=%255C", "=b=%3De=a": "=e=a",
	} {
		if got := c.Path(key); got != want {
			t.Errorf("Path(%q) = %q, want %q", key, got, want)
		}
	}
	if _, _, ok := c.Decode(`a\b`); ok {
		t.Error("a name that cannot be there is shown")
	}
	for _, key := range []string{strings.Repeat(".", 1024), strings.Repeat("n", 251) + ". .x", strings.Repeat("n", 248) + ".:", strings.Repeat("%", 80) + strings.Repeat(" ", 100)} {
		checkComponent(t, c, key)
	}
}

func TestANameThatIsNobodysKeyIsShownByItsBytes(t *testing.T) {
	for name, want := range map[string]string{
		"\xff": "=b=%FF", "a\nb": "=b=a%0Ab", "=e=a": "=b=%3De=a", "=e=%2e": "=b=%3De=%252e", "=m=x": "=b=%3Dm=x", "=l=short": "=b=%3Dl=short",
		"=z=": "=b=%3Dz=", "=f=": "=b=%3Df=", "=f==f=a": "=b=%3Df==f=a",
	} {
		if got, slot, ok := (keypath.Codec{}).Decode(name); got != want || slot != keypath.Plain || !ok {
			t.Errorf("Decode(%q) = %q, %v, %v, want %q", name, got, slot, ok, want)
		}
	}
}

func TestHiddenNamesAreNeverShown(t *testing.T) {
	for _, name := range []string{
		".shoal.sys", ".nfs0123456789abcdef", ".nfs00000000000000000012ab", ".snapshot", "~snapshot", ".zfs", ".glusterfs", ".trashcan", "lost+found",
		"#recycle", "#snapshot", "@eaDir", "$RECYCLE.BIN", "System Volume Information", ".cifs7", ".fuse_hidden0012", "=l=" + strings.Repeat("x", 252),
		".", "..", "",
	} {
		if got, _, ok := (keypath.Codec{}).Decode(name); ok {
			t.Errorf("%q is shown as %q", name, got)
		}
	}
}

// checkComponent holds one component against the first law: what is stored
// decodes to it, in both slots, and is a valid path.
func checkComponent(t *testing.T, c keypath.Codec, component string) {
	t.Helper()
	for _, slot := range []keypath.Slot{keypath.Plain, keypath.Alias} {
		path := c.Slot(component, slot)
		decode := c.Decode
		if strings.Contains(path, "/") {
			decode = c.DecodeLong
		}
		if got, s, ok := decode(path); got != component || s != slot || !ok {
			t.Errorf("%+v: %q, slot %d, is stored as %q, which is %q, slot %d, %v", c, component, slot, path, got, s, ok)
		}
		checkValid(t, c, path)
		if slot == keypath.Plain && c.SMB && (strings.Contains(path+"/", "./") || strings.Contains(path+"/", " /")) {
			t.Errorf("%+v: SMB takes a dot or space from the end of a name in %q", c, path)
		}
	}
}

func checkValid(t *testing.T, c keypath.Codec, path string) {
	t.Helper()
	limit := c.NameMax
	if limit == 0 {
		limit = keypath.DefaultNameMax
	}
	for name := range strings.SplitSeq(path, "/") {
		if name == "" || name == "." || name == ".." || len(name) > limit || strings.Contains(name, "\x00") || keypath.Hidden(name) {
			t.Errorf("%+v: bad name %q in %q", c, name, path)
		}
		if c.SMB && strings.ContainsAny(name, `\:*?<>|"`+"\x01\x1f") {
			t.Errorf("%+v: SMB cannot store %q", c, name)
		}
	}
}

// checkName holds one name against the second law: if it is shown, its key is
// stored under that name.
func checkName(t *testing.T, c keypath.Codec, name string) {
	t.Helper()
	component, slot, ok := c.Decode(name)
	if !ok {
		return
	}
	if strings.Contains(component, "/") {
		t.Errorf("%+v: %q is shown as %q", c, name, component)
	}
	if got := c.Slot(component, slot); got != name {
		t.Errorf("%+v: %q is shown as %q, slot %d, which is stored as %q", c, name, component, slot, got)
	}
}

// atoms are what names that look like ours, and other hard ones, are made of.
func atoms() []string {
	return []string{
		"=e=", "=0=", "=b=", "=f=", "=l=", "=m=", "=z=", "=", "%", "%3D", "%2E", "%25", "%41", "%2e", "%2F", "%00", "%01", "%FF", "%", "e=", "b",
		"a", "A", ".", "..", ".snapshot", ".shoal.sys", ".nfs0123456789abcdef", "lost+found", ".cifs", "\x00", "\x01", "\x1f", "\x7f", "\x80", "\xff",
		"\xc3", "ü", "日", "\U0001F41F", " ", ":", `\`, "con", "NUL", "COM1", ".txt", "xxxxxxxxxxxxxxxx", "%F0%9F", "=f==f=", "=e==e=", "=b==b=", "=b=%3Db=%253D",
	}
}

func hard(rng *rand.Rand, atoms []string, size int) string {
	var b strings.Builder
	for range rng.IntN(size) {
		b.WriteString(atoms[rng.IntN(len(atoms))])
	}
	return b.String()
}

func TestBothLawsHoldForNamesMadeToBreakThem(t *testing.T) {
	rng, parts := newRand(t), atoms()
	for name, c := range codecs() {
		t.Run(name, func(t *testing.T) {
			for i := 0; i < rounds(125_000) && !t.Failed(); i++ {
				size := 6
				if i%16 == 0 {
					size = 60
				}
				s := hard(rng, parts, size)
				checkComponent(t, c, s)
				limit := c.NameMax
				if limit == 0 {
					limit = keypath.DefaultNameMax
				}
				n := strings.ReplaceAll(s, "\x00", "")
				checkName(t, c, n[:min(len(n), limit)])
			}
		})
	}
}

func TestNoTwoKeysShareAPath(t *testing.T) {
	rng, parts := newRand(t), append(atoms(), "/", "/", "/", "//", "/./", "/../")
	fixed := []string{"a", "a/", "a//", "/a", "a/b", ".", "..", "a/./b", "a/../b", "./a", "//", "/", "a/b/", "=0=", "a/=0=", "=0=/a", "=f=a", "a\x00", "a\x00/"}
	for _, n := range []int{252, 253, 254, 255, 256, 257, 600, 1024} {
		s := strings.Repeat("x", n)
		fixed = append(fixed, s, s[:n-1]+"/", s[:n-1]+"\x01", s[:n/2]+"/"+s[n/2:], strings.Repeat("\x01", n), strings.Repeat("ü", n/2), "=l="+s, "=b=%3Dl="+s)
	}
	for name, c := range codecs() {
		t.Run(name, func(t *testing.T) {
			owner := map[string]string{}
			add := func(key string) {
				if key == "" || len(key) > 1024 {
					return
				}
				for slot, path := range []string{c.Path(key), c.Alias(key)} {
					id := key + "\x00" + string(rune('0'+slot))
					if other, taken := owner[path]; taken && other != id {
						t.Errorf("%q is the path of %q and of %q", path, other, id)
					}
					owner[path] = id
					checkValid(t, c, path)
				}
			}
			for _, key := range fixed {
				add(key)
			}
			for i := 0; i < rounds(60_000) && !t.Failed(); i++ {
				add(hard(rng, parts, 5))
			}
		})
	}
}

func FuzzComponent(f *testing.F) {
	for _, s := range atoms() {
		f.Add(s)
		f.Add("=b=" + s)
		f.Add("=e=" + s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if len(s) > 1024 || strings.Contains(s, "/") {
			return
		}
		for _, c := range codecs() {
			checkComponent(t, c, s)
		}
	})
}

func FuzzName(f *testing.F) {
	for _, s := range atoms() {
		f.Add(s)
		f.Add("=f=" + s)
		f.Add("=e=" + s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if strings.ContainsAny(s, "/\x00") {
			return
		}
		for _, c := range codecs() {
			limit := c.NameMax
			if limit == 0 {
				limit = keypath.DefaultNameMax
			}
			checkName(t, c, s[:min(len(s), limit)])
		}
	})
}

func FuzzLong(f *testing.F) {
	f.Add("=l=" + strings.Repeat("x", 252) + "/=m=x")
	f.Add("=l=a/=m=b")
	f.Add("=m=")
	f.Fuzz(func(t *testing.T, path string) {
		for _, c := range codecs() {
			if component, slot, ok := c.DecodeLong(path); ok && c.Slot(component, slot) != path {
				t.Errorf("%+v: %q", c, path)
			}
		}
	})
}

func BenchmarkPathPlain(b *testing.B) {
	c := keypath.Codec{}
	b.ReportAllocs()
	for b.Loop() {
		c.Path("backups/2026/11/24/host-17.example.com/var-log.tar.zst")
	}
}

func BenchmarkPathEscaped(b *testing.B) {
	c := keypath.Codec{}
	b.ReportAllocs()
	for b.Loop() {
		c.Path("backups//2026/../24/=e=host\x01")
	}
}
