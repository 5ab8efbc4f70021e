package objecttest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"testing"

	"github.com/shoal-storage/shoal/internal/object"
)

// Model runs steps random operations, drawn from seed, on a store and on Memory
// and compares every result: errors by Kind, Infos but for Modified, bodies,
// and pages of listings. One goroutine makes them, so there is one right answer
// to each. With -short it makes a fifth of the steps.
func Model(t *testing.T, newStore func(t *testing.T) object.Store, seed uint64, steps int) {
	if testing.Short() {
		steps /= 5
	}
	t.Logf("seed %d, %d steps", seed, steps)
	m := &model{
		last:  make(map[string]string),
		suite: &suite{T: t, Store: newStore(t)}, memory: NewMemory(), rng: rand.New(rand.NewPCG(seed, 0)), //nolint:gosec // a test that can be repeated
		uploads: []pair{{object.UploadRef{Ref: ref("a"), ID: "none"}, object.UploadRef{Ref: ref("a"), ID: "none"}}},
		big:     pattern(77, object.MinPartSize),
	}
	m.step = -1
	m.createBucket(bucketName)
	operations := m.operations()
	for m.step = range steps {
		operations[m.rng.IntN(len(operations))]()
		if t.Failed() {
			t.Fatalf("seed %d, step %d: the last operations were\n%s", seed, m.step, m.history())
		}
		if m.step%50 == 0 {
			m.compareAll()
		}
	}
	m.compareAll()
}

// model is a run on both stores.
type model struct {
	*suite
	memory  object.Store
	rng     *rand.Rand
	step    int
	uploads []pair     // whatever was created, ended or not; the first is none
	made    []versions // whatever versions there were
	big     []byte     // one part that need not be the last
	log     []string
	last    map[string]string // Sequence of what changed a key last
}

// versions is one version, by its names in the store and in memory.
type versions struct{ real, memory object.Ref }

// pair is one upload in the store and in memory.
type pair struct{ real, memory object.UploadRef }

func (m *model) operations() []func() {
	var all []func()
	for _, o := range []struct {
		weight int
		run    func()
	}{
		{30, m.put},
		{20, m.get},
		{20, m.remove},
		{20, m.list},
		{8, m.update},
		{1, func() { m.createBucket(m.bucket()) }},
		{1, m.deleteBucket},
		{2, m.updateBucket},
		{8, m.createUpload},
		{16, m.putPart},
		{8, m.complete},
		{3, m.abort},
		{3, m.listParts},
		{4, m.listUploads},
		{5, m.copy},
		{5, m.rename},
		{2, m.setVersioning},
		{20, m.getVersion},
		{20, m.removeVersion},
		{4, m.updateVersion},
		{20, m.listVersions},
	} {
		for range o.weight {
			all = append(all, o.run)
		}
	}
	return all
}

func (m *model) note(format string, args ...any) {
	m.log = append(m.log, fmt.Sprintf("%d: ", m.step)+fmt.Sprintf(format, args...))
	if len(m.log) > 40 {
		m.log = m.log[1:]
	}
}

func (m *model) history() string {
	var s string
	for _, line := range m.log {
		s += line + "\n"
	}
	return s
}

func pick[T any](m *model, from ...T) T { return from[m.rng.IntN(len(from))] }

func (m *model) bucket() string {
	return pick(m, bucketName, bucketName, bucketName, bucketName, otherBucket)
}

func (m *model) key() string {
	return pick(m, "a", "a", "a/b", "a/b", "a/", "a/b/c", "a//b", "a-b", "a.b", "a0", "b", "b/c", "=e=%41", "..", "\xff/x")
}

func (m *model) ref() object.Ref { return object.Ref{Bucket: m.bucket(), Key: m.key()} }

func (m *model) meta() object.Meta {
	return pick(m, object.Meta{}, object.Meta{}, object.Meta{ContentType: "text/plain", User: map[string]string{"n": strconv.Itoa(m.rng.IntN(100))}},
		object.Meta{Tags: []object.Tag{{Key: "a", Value: strconv.Itoa(m.rng.IntN(100))}}}, object.Meta{User: map[string]string{"big": string(pattern(m.rng.IntN(9), 3000))}},
		object.Meta{Seal: strconv.Itoa(m.rng.IntN(100)), Tags: []object.Tag{{Key: "a"}}})
}

// check returns a Check, its name for the log, and none most of the time.
func (m *model) check(r object.Ref) (string, object.Check) {
	etag := "00"
	if info, err := m.memory.Stat(m.Context(), r); err == nil {
		etag = info.ETag
	}
	switch m.rng.IntN(8) {
	case 0:
		return "if-none-match *", object.IfNoneMatch("*")
	case 1:
		return "if-match of the current", object.IfMatch(etag, object.NoSuchKey)
	case 2:
		return "if-match of another", object.IfMatch("ff", object.PreconditionFailed)
	}
	return "no check", nil
}

// agree compares two errors by their Kind and reports whether both are nil.
func (m *model) agree(what string, got, want error) bool {
	m.Helper()
	if (got == nil) != (want == nil) || got != nil && object.KindOf(got) != object.KindOf(want) {
		m.Errorf("%s: got error %v, want %v", what, got, want)
		return false
	}
	return want == nil
}

func (m *model) info(what string, got, want object.Info) {
	m.Helper()
	if d := differ(got, want); d != "" {
		m.Errorf("%s: %s", what, d)
	}
	m.follows(object.Ref{Bucket: got.Bucket, Key: got.Key}, got.Sequence)
}

// follows looks whether a change of a key says that it came after the one before.
func (m *model) follows(r object.Ref, sequence string) {
	m.Helper()
	key := r.Bucket + "/" + r.Key
	if sequence == "" {
		return
	}
	if sequence <= m.last[key] {
		m.Errorf("the sequence of a change of %s is %s, after %s", key, sequence, m.last[key])
	}
	m.last[key] = sequence
}

func (m *model) createBucket(name string) {
	m.note("create bucket %s", name)
	b := object.Bucket{Name: name, Region: strconv.Itoa(m.rng.IntN(100))}
	m.agree("create bucket", m.CreateBucket(m.Context(), b), m.memory.CreateBucket(m.Context(), b))
}

func (m *model) deleteBucket() {
	name := pick(m, bucketName, otherBucket)
	m.note("delete bucket %s", name)
	m.agree("delete bucket", m.DeleteBucket(m.Context(), name), m.memory.DeleteBucket(m.Context(), name))
}

func (m *model) updateBucket() {
	name := m.bucket()
	tags := []object.Tag{{Key: strconv.Itoa(m.rng.IntN(100))}}
	m.note("update bucket %s", name)
	fn := func(b *object.Bucket) error { b.Tags = slices.Clone(tags); return nil }
	m.agree("update bucket", m.UpdateBucket(m.Context(), name, fn), m.memory.UpdateBucket(m.Context(), name, fn))
}

func (m *model) put() {
	r := m.ref()
	name, check := m.check(r)
	content := pattern(m.rng.IntN(1000), pick(m, 0, 1, 10, 5000, 100000))
	meta := m.meta()
	m.note("put %q of %d bytes, %s", r, len(content), name)
	body := m.bodies(content, object.CRC64NVME)
	in := func() object.PutInput {
		return object.PutInput{Body: body(), Check: check, Meta: meta.Clone()}
	}
	got, err := m.Put(m.Context(), r, in())
	want, wantErr := m.memory.Put(m.Context(), r, in())
	if m.agree("put", err, wantErr) {
		m.info("put", got, want)
		m.remember(got, want)
	}
}

// bodies returns what makes bodies of content, one in three of which is sealed: some of
// it counts as overhead.
func (m *model) bodies(content []byte, a object.Algorithm) func() object.Body {
	overhead, salt := int64(0), ""
	if m.rng.IntN(3) == 0 {
		overhead, salt = int64(m.rng.IntN(len(content)+1)), strconv.Itoa(m.rng.IntN(100))
		m.note("sealed with %d bytes of overhead", overhead)
	}
	return func() object.Body { return sealedBody{NewBody(content, a), overhead, salt} }
}

func (m *model) get() {
	r := m.ref()
	m.note("get %q", r)
	m.compare(r)
}

// compare opens and stats one object of both.
func (m *model) compare(r object.Ref) {
	m.Helper()
	h, err := m.Open(m.Context(), r)
	w, wantErr := m.memory.Open(m.Context(), r)
	stat, statErr := m.Stat(m.Context(), r)
	m.agree("stat", statErr, wantErr)
	if !m.agree("open", err, wantErr) {
		return
	}
	got, err := read(h)
	want, wantErr := read(w)
	if err = errors.Join(err, wantErr, h.Close()); err != nil || string(got) != string(want) {
		m.Errorf("%q: %d bytes, %v; want %d", r, len(got), err, len(want))
	}
	m.info("open", h.Info(), w.Info())
	m.same("Stat after Open", stat, h.Info())
}

func (m *model) remove() {
	r := m.ref()
	name, check := m.check(r)
	m.note("delete %q, %s", r, name)
	got, err := m.Delete(m.Context(), r, check)
	want, wantErr := m.memory.Delete(m.Context(), r, check)
	if m.agree("delete", err, wantErr) {
		m.deleted(r, got, want)
	}
}

func (m *model) update() {
	r := m.ref()
	tags := pick(m, nil, []object.Tag{{Key: "t", Value: strconv.Itoa(m.rng.IntN(100))}})
	seal := pick(m, "", "", "another")
	m.note("update %q to %v, seal %q", r, tags, seal)
	fn := func(meta *object.Meta) error {
		meta.Tags = slices.Clone(tags)
		if meta.Seal != "" && seal != "" {
			meta.Seal = seal
		}
		return nil
	}
	got, err := m.Update(m.Context(), r, fn)
	want, wantErr := m.memory.Update(m.Context(), r, fn)
	if m.agree("update", err, wantErr) {
		m.info("update", got, want)
	}
}

func (m *model) list() {
	q := object.Query{
		Bucket: m.bucket(), Prefix: pick(m, "", "", "", "a", "a/", "a/b", "=", "\xff"), Delimiter: pick(m, "", "/", "/", "-", "b"),
		After: pick(m, "", "", "", m.key(), "a/", "a/b/"), Limit: pick(m, 1, 2, 5, 1000),
	}
	m.note("list %+v", q)
	m.compareList(q)
}

// compareList compares all pages of a listing from q on. Where the next page
// begins is for each store to say.
func (m *model) compareList(q object.Query) {
	m.Helper()
	wantQuery := q
	for {
		got, err := m.List(m.Context(), q)
		want, wantErr := m.memory.List(m.Context(), wantQuery)
		if !m.agree("list", err, wantErr) {
			return
		}
		if len(got.Objects) != len(want.Objects) || !slices.Equal(got.Prefixes, want.Prefixes) || got.More != want.More {
			m.Errorf("list %+v: got %+v, want %+v", q, got, want)
			return
		}
		for i, o := range got.Objects {
			w := want.Objects[i]
			w.Checksum = o.Checksum // a listing need not know it
			m.info("list", o, w)
		}
		if !want.More {
			return
		}
		q.After, wantQuery.After = got.Next, want.Next
	}
}

// compareAll compares everything that both stores hold.
func (m *model) compareAll() {
	m.Helper()
	got, err := m.ListBuckets(m.Context())
	want, wantErr := m.memory.ListBuckets(m.Context())
	if !m.agree("list buckets", err, wantErr) {
		return
	}
	for _, b := range want {
		m.compareList(object.Query{Bucket: b.Name, Limit: 1000})
		m.compareVersions(object.VersionQuery{Bucket: b.Name, Limit: 1000})
		page, err := m.memory.List(m.Context(), object.Query{Bucket: b.Name, Limit: 1000})
		m.ok("list", err)
		for _, o := range page.Objects {
			m.compare(object.Ref{Bucket: b.Name, Key: o.Key})
		}
	}
	if !slices.EqualFunc(got, want, func(x, y object.Bucket) bool {
		return x.Name == y.Name && x.Region == y.Region && slices.Equal(x.Tags, y.Tags) && x.Versioning == y.Versioning
	}) {
		m.Errorf("buckets %+v, want %+v", got, want)
	}
	if m.Failed() {
		m.Fatalf("step %d: the last operations were\n%s", m.step, m.history())
	}
}

func (m *model) copy() {
	from, to := m.ref(), m.ref()
	name, check := m.check(to)
	in := object.CopyInput{Check: check}
	if m.rng.IntN(3) == 0 {
		meta := m.meta()
		in.Meta = &meta
	}
	c, ok := m.Store.(object.Copier)
	if !ok {
		return
	}
	m.note("copy %q to %q, %s", from, to, name)
	got, err := c.Copy(m.Context(), from, to, in)
	want, wantErr := m.memory.(object.Copier).Copy(m.Context(), from, to, in)
	if m.agree("copy", err, wantErr) {
		m.info("copy", got, want)
		m.remember(got, want)
	}
}

func (m *model) rename() {
	from, to := m.ref(), m.ref()
	to.Bucket = from.Bucket
	name, check := m.check(to)
	r, ok := m.Store.(object.Renamer)
	if !ok || from == to {
		return
	}
	m.note("rename %q to %q, %s", from, to, name)
	in := object.CopyInput{Check: check}
	m.agree("rename", r.Rename(m.Context(), from, to, in), m.memory.(object.Renamer).Rename(m.Context(), from, to, in))
}

func (m *model) createUpload() {
	up := object.Upload{
		UploadRef: object.UploadRef{Ref: m.ref()}, Algorithm: pick(m, object.CRC32, object.CRC64NVME), Type: object.FullObject, Meta: m.meta(),
	}
	m.note("create upload of %q", up.Ref)
	got, err := m.CreateUpload(m.Context(), up)
	want, wantErr := m.memory.CreateUpload(m.Context(), up)
	if m.agree("create upload", err, wantErr) {
		m.uploads = append(m.uploads, pair{got.UploadRef, want.UploadRef})
	}
}

// upload returns one that was created lately, so that most are in progress.
func (m *model) upload() pair {
	n := min(len(m.uploads), 5)
	return m.uploads[len(m.uploads)-1-m.rng.IntN(n)]
}

func (m *model) putPart() {
	u := m.upload()
	number := 1 + m.rng.IntN(4)
	content := pattern(m.rng.IntN(1000), m.rng.IntN(3000))
	if m.rng.IntN(10) == 0 {
		content = m.big
	}
	algorithm := object.CRC32
	if up, err := m.memory.StatUpload(m.Context(), u.memory); err == nil {
		algorithm = up.Algorithm
	}
	m.note("put part %d of %q with %d bytes", number, u.real, len(content))
	body := m.bodies(content, algorithm)
	got, err := m.PutPart(m.Context(), u.real, number, body())
	want, wantErr := m.memory.PutPart(m.Context(), u.memory, number, body())
	if m.agree("put part", err, wantErr) {
		m.samePart(got, want)
	}
}

func (m *model) samePart(got, want object.Part) {
	m.Helper()
	got.Modified = want.Modified
	if !reflect.DeepEqual(got, want) {
		m.Errorf("part %+v, want %+v", got, want)
	}
}

func (m *model) listParts() {
	u := m.upload()
	after, limit := m.rng.IntN(5), 1+m.rng.IntN(4)
	m.note("list parts of %q after %d, %d", u.real, after, limit)
	got, more, err := m.ListParts(m.Context(), u.real, after, limit)
	want, wantMore, wantErr := m.memory.ListParts(m.Context(), u.memory, after, limit)
	if !m.agree("list parts", err, wantErr) {
		return
	}
	if more != wantMore || len(got) != len(want) {
		m.Errorf("parts %+v, more %v; want %+v, %v", got, more, want, wantMore)
		return
	}
	for i := range got {
		m.samePart(got[i], want[i])
	}
}

func (m *model) complete() {
	u := m.upload()
	parts, _, err := m.memory.ListParts(m.Context(), u.memory, 0, 1000)
	if err != nil {
		parts = []object.Part{{Number: 1, ETag: "00"}}
	}
	// Mostly all parts, sometimes only the last, or a part that is not there.
	switch m.rng.IntN(6) {
	case 0:
		parts = parts[max(0, len(parts)-1):]
	case 1:
		parts = append(parts, object.Part{Number: 9, ETag: "00"})
	}
	name, check := m.check(u.memory.Ref)
	in := naming(parts...)
	in.Check = check
	m.note("complete %q of %d parts, %s", u.real, len(parts), name)
	got, err := m.CompleteUpload(m.Context(), u.real, in)
	want, wantErr := m.memory.CompleteUpload(m.Context(), u.memory, in)
	if !m.agree("complete", err, wantErr) {
		return
	}
	m.info("complete", got, want)
	m.remember(got, want)
	again, err := m.CompleteUpload(m.Context(), u.real, in)
	if m.agree("complete again", err, nil) {
		m.same("complete again", again, got)
	}
}

func (m *model) abort() {
	u := m.upload()
	m.note("abort %q", u.real)
	m.agree("abort", m.AbortUpload(m.Context(), u.real), m.memory.AbortUpload(m.Context(), u.memory))
}

// listUploads compares without the order within one key, which is that of time:
// two clocks may give it differently.
func (m *model) listUploads() {
	q := object.UploadQuery{Bucket: m.bucket(), Prefix: pick(m, "", "a", "a/"), Delimiter: pick(m, "", "/", "-"), AfterKey: pick(m, "", m.key()), Limit: 1000}
	m.note("list uploads %+v", q)
	got, err := m.ListUploads(m.Context(), q)
	want, wantErr := m.memory.ListUploads(m.Context(), q)
	if !m.agree("list uploads", err, wantErr) {
		return
	}
	memoryOf := map[object.UploadRef]object.UploadRef{}
	for _, p := range m.uploads {
		memoryOf[p.real] = p.memory
	}
	var gotRefs, wantRefs []string
	for _, u := range got.Uploads {
		gotRefs = append(gotRefs, fmt.Sprintf("%q", memoryOf[u.UploadRef]))
	}
	for _, u := range want.Uploads {
		wantRefs = append(wantRefs, fmt.Sprintf("%q", u.UploadRef))
	}
	slices.Sort(gotRefs)
	slices.Sort(wantRefs)
	if !slices.Equal(gotRefs, wantRefs) || !slices.Equal(got.Prefixes, want.Prefixes) || got.More != want.More {
		m.Errorf("uploads %v %q, want %v %q", gotRefs, got.Prefixes, wantRefs, want.Prefixes)
	}
}
