package sse

import (
	"bytes"
	"crypto/md5"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/shoal-storage/shoal/internal/object"
)

// sizes are those at which something begins or ends.
func sizes() []int64 {
	return []int64{0, 1, 15, 16, 17, chunkSize - 1, chunkSize, chunkSize + 1, 2*chunkSize - 1, 2 * chunkSize, 5*chunkSize + 77}
}

// content returns size bytes that differ with seed and from place to place.
func content(seed uint64, size int64) []byte {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{byte(seed)}).Read(b)
	return b
}

// plainBody is an object.Body of content.
type plainBody struct {
	io.Reader
	content []byte
	size    int64
}

func bodyOf(content []byte) *plainBody {
	return &plainBody{bytes.NewReader(content), content, int64(len(content))}
}

func (b *plainBody) Size() int64 { return b.size }

func (b *plainBody) Digest() object.Digest {
	sum := crc32.ChecksumIEEE(b.content)
	return object.Digest{MD5: md5.Sum(b.content), Checksum: object.Checksum{
		Algorithm: object.CRC32, Value: string([]byte{byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)}),
	}}
}

// encrypt returns the encrypted bytes of content, and its Digest.
func encrypt(t testing.TB, content []byte, key Key, salt string) ([]byte, object.Digest) {
	t.Helper()
	body := Encrypt(bodyOf(content), key, salt, false)
	b, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	return b, body.Digest()
}

// memory is a Handle of bytes.
type memory struct {
	info object.Info
	held []byte
}

func (m *memory) Info() object.Info { return m.info }
func (m *memory) Close() error      { return nil }
func (m *memory) Range(offset, length int64) io.Reader {
	return io.NewSectionReader(bytes.NewReader(m.held), offset, length)
}

// stored is content that was encrypted in parts, or in one piece if there is one.
func stored(t testing.TB, key Key, parts ...[]byte) *memory {
	t.Helper()
	m := &memory{}
	for i, p := range parts {
		salt := ""
		if len(parts) > 1 {
			salt = NewSalt()
		}
		held, digest := encrypt(t, p, key, salt)
		m.held = append(m.held, held...)
		m.info.Size += int64(len(p))
		m.info.Overhead += digest.Overhead
		if len(parts) > 1 {
			m.info.Parts = append(m.info.Parts, object.PartInfo{Number: i + 1, Size: int64(len(p)), Salt: digest.Salt})
		}
	}
	return m
}

func TestContentComesBackAsItWas(t *testing.T) {
	key := NewKey()
	for _, size := range sizes() {
		want := content(1, size)
		m := stored(t, key, want)
		if int64(len(m.held)) != held(size) || m.info.Held() != held(size) {
			t.Errorf("%d bytes became %d, of which %d are overhead", size, len(m.held), m.info.Overhead)
		}
		got, err := io.ReadAll(Decrypt(m, key).Range(0, size))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes came back as %d others, %v", size, len(got), err)
		}
		var sent bytes.Buffer
		n, err := Decrypt(m, key).Range(0, size).(io.WriterTo).WriteTo(&sent)
		if n != size || err != nil || !bytes.Equal(sent.Bytes(), want) {
			t.Errorf("%d bytes were written as %d, %v", size, n, err)
		}
	}
}

func TestABodyIsTheSameHoweverItIsRead(t *testing.T) {
	key, want := NewKey(), content(1, 3*chunkSize+5)
	whole, _ := encrypt(t, want, key, "salt")
	for name, wrap := range map[string]func(io.Reader) io.Reader{
		"a byte at a time": iotest.OneByteReader, "half of what is wanted": iotest.HalfReader, "io.EOF with the last bytes": iotest.DataErrReader,
	} {
		source := bodyOf(want)
		source.Reader = wrap(source.Reader)
		got, err := io.ReadAll(Encrypt(source, key, "salt", false))
		if err != nil || !bytes.Equal(got, whole) {
			t.Errorf("from a body read %s come %d other bytes, %v", name, len(got), err)
		}
		got, err = io.ReadAll(wrap(Encrypt(bodyOf(want), key, "salt", false)))
		if err != nil || !bytes.Equal(got, whole) {
			t.Errorf("read %s it gives %d other bytes, %v", name, len(got), err)
		}
	}
	for _, size := range []int64{-1, 0, 10} {
		source := bodyOf(want)
		source.size = size
		got, err := io.ReadAll(Encrypt(source, key, "salt", false))
		if err != nil || !bytes.Equal(got, whole) {
			t.Errorf("of a body that says it has %d bytes come %d others, %v", size, len(got), err)
		}
	}
	if size := Encrypt(bodyOf(want), key, "", false).Size(); size != int64(len(whole)) {
		t.Errorf("its size is %d, want %d", size, len(whole))
	}
	if size := object.ContentSize(Encrypt(bodyOf(want), key, "", false)); size != int64(len(want)) {
		t.Errorf("its content has %d bytes, want %d", size, len(want))
	}
	if size := Encrypt(&plainBody{size: -1}, key, "", false).Size(); size != -1 {
		t.Errorf("of a size that is not known it makes %d", size)
	}
}

func TestABodyThatFailsIsNeverAtItsEnd(t *testing.T) {
	boom := errors.New("boom")
	for _, size := range sizes() {
		source := bodyOf(nil)
		source.Reader = io.MultiReader(bytes.NewReader(content(1, size)), iotest.ErrReader(boom))
		source.size = size
		body := Encrypt(source, NewKey(), "", false)
		if _, err := io.ReadAll(body); !errors.Is(err, boom) {
			t.Errorf("after %d bytes: %v", size, err)
		}
		if n, err := body.Read(make([]byte, 10)); n != 0 || !errors.Is(err, boom) {
			t.Errorf("after that: %d bytes, %v", n, err)
		}
	}
	source := bodyOf(nil)
	source.Reader = io.MultiReader(bytes.NewReader([]byte("x")), iotest.ErrReader(fmt.Errorf("not whole: %w", io.EOF)))
	if _, err := io.ReadAll(Encrypt(source, NewKey(), "", false)); err == nil {
		t.Error("an error that wraps io.EOF was taken for the end")
	}
}

func TestRangesAreThoseOfTheContent(t *testing.T) {
	key := NewKey()
	parts := [][]byte{content(1, 2*chunkSize), content(2, chunkSize+1), nil, content(3, 10), content(4, 3*chunkSize-1), nil}
	var whole []byte
	for _, p := range parts {
		whole = append(whole, p...)
	}
	for name, m := range map[string]*memory{"in one piece": stored(t, key, whole), "in parts": stored(t, key, parts...)} {
		h := Decrypt(m, key)
		var edges []int64
		var at int64
		for _, p := range append(parts, make([]byte, chunkSize)) {
			for _, near := range []int64{at - 1, at, at + 1, at + chunkSize - 1, at + chunkSize, at + chunkSize + 1} {
				if near >= 0 && near <= int64(len(whole)) {
					edges = append(edges, near)
				}
			}
			at += int64(len(p))
		}
		for _, from := range edges {
			for _, to := range edges {
				if to < from {
					continue
				}
				got, err := io.ReadAll(h.Range(from, to-from))
				if err != nil || !bytes.Equal(got, whole[from:to]) {
					t.Fatalf("%s: bytes %d to %d came back as %d others, %v", name, from, to, len(got), err)
				}
			}
		}
		got, err := io.ReadAll(h.Range(0, int64(len(whole))+100))
		if err != nil || !bytes.Equal(got, whole) {
			t.Errorf("%s: a range beyond the end gives %d bytes, %v", name, len(got), err)
		}
	}
}

// counting counts what is read of a Handle.
type counting struct {
	*memory
	read int64
}

func (c *counting) Range(offset, length int64) io.Reader {
	c.read += length
	return c.memory.Range(offset, length)
}

func TestARangeReadsNoMoreThanItsChunks(t *testing.T) {
	key := NewKey()
	m := &counting{memory: stored(t, key, content(1, 100*chunkSize))}
	if _, err := io.ReadAll(Decrypt(m, key).Range(50*chunkSize-1, 2)); err != nil || m.read != 2*sealedSize {
		t.Errorf("for two bytes %d were read, %v", m.read, err)
	}
}

func TestWhatIsNotWhatWasEncryptedIsRefused(t *testing.T) {
	key := NewKey()
	want := [][]byte{content(1, 2*chunkSize+100), content(2, 2*chunkSize+100)}
	part := held(2*chunkSize + 100)
	swap := func(m *memory, x, y, n int64) {
		first := bytes.Clone(m.held[x : x+n])
		copy(m.held[x:], m.held[y:y+n])
		copy(m.held[y:], first)
	}
	for name, damage := range map[string]func(m *memory){
		"a bit is turned in the first chunk":   func(m *memory) { m.held[5] ^= 1 },
		"a bit is turned in a tag":             func(m *memory) { m.held[sealedSize-1] ^= 0x80 },
		"a bit is turned in the last chunk":    func(m *memory) { m.held[len(m.held)-20] ^= 4 },
		"two chunks are swapped":               func(m *memory) { swap(m, 0, sealedSize, sealedSize) },
		"chunks of two parts are swapped":      func(m *memory) { swap(m, 0, part, sealedSize) },
		"the parts are swapped":                func(m *memory) { swap(m, 0, part, part) },
		"a chunk stands twice":                 func(m *memory) { copy(m.held[sealedSize:], m.held[:sealedSize]) },
		"the last byte is cut off":             func(m *memory) { m.held = m.held[:len(m.held)-1] },
		"the last chunk is cut off":            func(m *memory) { m.held = m.held[:len(m.held)-116] },
		"the last part is cut off":             func(m *memory) { m.held = m.held[:part] },
		"a part is said to be shorter":         func(m *memory) { m.info.Parts[0].Size = 2 * chunkSize },
		"it is said to be shorter, by a chunk": func(m *memory) { m.info.Parts[1].Size, m.info.Size = 2*chunkSize, m.info.Size-100 },
		"a part is left out":                   func(m *memory) { m.info.Parts = m.info.Parts[1:] },
		"a part has less than nothing":         func(m *memory) { m.info.Parts[0].Size, m.info.Parts[1].Size = -1, m.info.Size+1 },
		"a salt is changed":                    func(m *memory) { m.info.Parts[1].Salt = NewSalt() },
		"the salts are swapped": func(m *memory) {
			m.info.Parts[0].Salt, m.info.Parts[1].Salt = m.info.Parts[1].Salt, m.info.Parts[0].Salt
		},
	} {
		m := stored(t, key, want...)
		damage(m)
		got, err := io.ReadAll(Decrypt(m, key).Range(0, m.info.Size))
		if !errors.Is(err, ErrDamaged) {
			t.Errorf("where %s: %d bytes, %v", name, len(got), err)
		}
		if !bytes.HasPrefix(bytes.Join(want, nil), got) {
			t.Errorf("where %s it gives bytes that never were", name)
		}
	}
	if _, err := io.ReadAll(Decrypt(stored(t, key, want...), NewKey()).Range(0, 10)); !errors.Is(err, ErrDamaged) {
		t.Errorf("under another key: %v", err)
	}
}

func TestAReaderThatFailedGoesOnFailing(t *testing.T) {
	key := NewKey()
	m := stored(t, key, content(1, 3*chunkSize))
	m.held[sealedSize] ^= 1
	r := Decrypt(m, key).Range(0, 3*chunkSize)
	if n, err := io.Copy(io.Discard, r); n != chunkSize || !errors.Is(err, ErrDamaged) {
		t.Errorf("%d bytes, %v", n, err)
	}
	if n, err := r.Read(make([]byte, 1)); n != 0 || !errors.Is(err, ErrDamaged) {
		t.Errorf("after that: %d bytes, %v", n, err)
	}
}

func TestWhatIsKeptOfAContentTellsNothingOfIt(t *testing.T) {
	secret := []byte("4711")
	sum, plain := bodyOf(secret).Digest(), NewKey()
	held, digest := encrypt(t, secret, plain, "")
	if bytes.Contains(held, secret) || digest.Checksum.Value == sum.Checksum.Value || digest.MD5 == sum.MD5 {
		t.Errorf("it shows: %x, %+v", held, digest)
	}
	if got := Reveal(object.Info{Checksum: digest.Checksum}, plain).Checksum; got != sum.Checksum {
		t.Errorf("its checksum is %+v, want %+v", got, sum.Checksum)
	}
	_, again := encrypt(t, secret, NewKey(), "")
	if again.MD5 == digest.MD5 || again.Checksum == digest.Checksum {
		t.Error("two objects of one content show that they are")
	}
	body := Encrypt(bodyOf(secret), plain, "", true)
	if _, err := io.ReadAll(body); err != nil || body.Digest().MD5 != sum.MD5 {
		t.Errorf("where the ETag is to be its MD5 it is %x, %v", body.Digest().MD5, err)
	}
}

func TestChecksumsOfEachLengthAreHidden(t *testing.T) {
	key := Key{1}
	for _, a := range object.Algorithms() {
		sum := object.Checksum{Algorithm: a, Value: strings.Repeat("x", a.Size())}
		kept := Conceal(sum, key)
		for at := range kept.Value[:max(len(kept.Value)-3, 0)] {
			if part := kept.Value[at : at+4]; strings.Contains(sum.Value, part) || strings.Count(kept.Value, part) > 1 {
				t.Errorf("%v is kept as %x: it shows that its bytes are all the same", a, kept.Value)
			}
		}
		if got := Reveal(object.Info{Checksum: kept}, key).Checksum; got != sum {
			t.Errorf("%v came back as %+v", a, got)
		}
	}
}

func TestThePartsOfAnUploadAreRevealed(t *testing.T) {
	key := NewKey()
	sum := bodyOf([]byte("part")).Digest().Checksum
	_, digest := encrypt(t, []byte("part"), key, "salt")
	part := RevealPart(object.Part{Checksum: digest.Checksum.Value, Salt: digest.Salt}, object.CRC32, key)
	if part.Checksum != sum.Value {
		t.Errorf("the part's checksum is %x, want %x", part.Checksum, sum.Value)
	}
	whole := object.Checksum{Algorithm: object.CRC32, Type: object.Composite, Value: "1234", Parts: 1}
	info := RevealParts(Reveal(object.Info{
		Checksum: Conceal(whole, key), Parts: []object.PartInfo{{Checksum: digest.Checksum.Value, Salt: "salt"}, {}},
	}, key), key)
	if info.Checksum != whole || info.Parts[0].Checksum != sum.Value || info.Parts[1].Checksum != "" {
		t.Errorf("the object's are %+v", info)
	}
	if info = RevealParts(Reveal(object.Info{}, key), key); !info.Checksum.IsZero() {
		t.Errorf("none became %+v", info.Checksum)
	}
}

// FuzzRange holds ranges of a content in two parts against the content itself.
func FuzzRange(f *testing.F) {
	f.Add(uint32(0), uint32(0), uint32(0), uint32(0))
	f.Add(uint32(chunkSize), uint32(2*chunkSize+1), uint32(chunkSize-1), uint32(2))
	f.Add(uint32(1), uint32(3*chunkSize), uint32(chunkSize), uint32(chunkSize+1))
	key := Key{1}
	f.Fuzz(func(t *testing.T, first, second, offset, length uint32) {
		const most = 4 * chunkSize
		parts := [][]byte{content(1, int64(first%most)), content(2, int64(second%most))}
		whole := bytes.Join(parts, nil)
		from := min(int(offset%(2*most)), len(whole))
		to := min(from+int(length%(2*most)), len(whole))
		got, err := io.ReadAll(Decrypt(stored(t, key, parts...), key).Range(int64(from), int64(length%(2*most))))
		if err != nil || !bytes.Equal(got, whole[from:to]) {
			t.Errorf("bytes %d to %d of %d and %d came back as %d, %v", from, to, len(parts[0]), len(parts[1]), len(got), err)
		}
	})
}

func BenchmarkEncrypt(b *testing.B) {
	plain, buf := content(1, 64<<20), make([]byte, 1<<20)
	b.SetBytes(int64(len(plain)))
	for b.Loop() {
		body := Encrypt(bodyOf(plain), Key{1}, "", true)
		for {
			if _, err := io.ReadFull(body, buf); err != nil {
				break
			}
		}
	}
}

func BenchmarkDecrypt(b *testing.B) {
	m := stored(b, Key{1}, content(1, 64<<20))
	b.SetBytes(m.info.Size)
	for b.Loop() {
		if _, err := Decrypt(m, Key{1}).Range(0, m.info.Size).(io.WriterTo).WriteTo(io.Discard); err != nil {
			b.Fatal(err)
		}
	}
}

// FuzzLayout reads contents whose metadata somebody has made up: what comes out is
// what was encrypted, or an error.
func FuzzLayout(f *testing.F) {
	f.Add(int64(chunkSize), int64(10), int64(chunkSize+10), int64(0), int64(chunkSize+10))
	f.Add(int64(-1), int64(1)<<62, int64(1)<<62-1, int64(1), int64(1)<<62)
	f.Add(int64(math.MaxInt64), int64(math.MaxInt64), int64(math.MaxInt64-1), int64(1)<<62, int64(5))
	key := Key{1}
	whole := content(1, 2*chunkSize+10)
	m := stored(f, key, whole[:chunkSize], whole[chunkSize:])
	f.Fuzz(func(t *testing.T, first, second, size, offset, length int64) {
		forged := *m
		forged.info.Size = size
		forged.info.Parts = []object.PartInfo{{Number: 1, Size: first, Salt: m.info.Parts[0].Salt}, {Number: 2, Size: second, Salt: m.info.Parts[1].Salt}}
		offset = max(offset, 0)
		got, err := io.ReadAll(Decrypt(&forged, key).Range(offset, length))
		if err == nil && len(got) > 0 && (offset+int64(len(got)) > int64(len(whole)) || !bytes.Equal(got, whole[offset:offset+int64(len(got))])) {
			t.Errorf("%d bytes came out that never were", len(got))
		}
	})
}
