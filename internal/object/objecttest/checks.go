package objecttest

import (
	"errors"
	"fmt"
	"strconv"
	"sync"

	"github.com/shoal-storage/shoal/internal/object"
)

func checkTests() []test {
	return []test{
		{"a Check sees the current version, or nil", func(c *suite) {
			var seen *object.Info
			look := func(current *object.Info) error { seen = current; return nil }
			first := c.putIn(object.PutInput{Check: look, Meta: object.Meta{ContentType: "t", Tags: []object.Tag{{Key: "a"}}}}, "k", []byte("one"))
			if seen != nil {
				c.Errorf("before the first put: %+v", seen)
			}
			c.putIn(object.PutInput{Check: look}, "k", []byte("two"))
			if seen == nil {
				c.Fatal("the second put saw nothing")
			}
			c.same("Check", *seen, first)
			c.ok("delete", c.delete(ref("k"), look))
			if seen == nil || seen.Size != 3 {
				c.Errorf("delete saw %+v", seen)
			}
			c.ok("delete", c.delete(ref("k"), look))
			if seen != nil {
				c.Errorf("delete of nothing saw %+v", seen)
			}
		}},
		{"what a Check refuses does not happen", func(c *suite) {
			refuse := func(*object.Info) error { return errRefused }
			_, err := c.Put(c.Context(), ref("k"), object.PutInput{Body: NewBody([]byte("x"), object.CRC32), Check: refuse})
			c.is("put", err, errRefused)
			c.lacks("k")
			c.put("k", "old")
			_, err = c.Put(c.Context(), ref("k"), object.PutInput{Body: NewBody([]byte("x"), object.CRC32), Check: refuse})
			c.is("put", err, errRefused)
			c.is("delete", c.delete(ref("k"), refuse), errRefused)
			c.holds("k", "old")
			c.is("delete of nothing", c.delete(ref("none"), refuse), errRefused)
			c.strings("keys", c.keys(10), []string{"k"})
		}},
		{"a refused put into a new place leaves nothing", func(c *suite) {
			_, err := c.Put(c.Context(), ref("a/b/c"), object.PutInput{Body: NewBody([]byte("x"), object.CRC32), Check: func(*object.Info) error { return errRefused }})
			c.is("put", err, errRefused)
			c.ok("delete bucket", c.DeleteBucket(c.Context(), bucketName))
		}},
		{"the preconditions of S3", func(c *suite) {
			c.put("k", "old")
			etag := c.put("k", "old").ETag
			for _, tt := range []struct {
				name  string
				key   string
				check object.Check
				want  object.Kind // Internal: none
			}{
				{"if-match, right", "k", object.IfMatch(`"`+etag+`"`, object.NoSuchKey), object.Internal},
				{"if-match, wrong", "k", object.IfMatch(`"00"`, object.NoSuchKey), object.PreconditionFailed},
				{"if-match, nothing there", "none", object.IfMatch(`"00"`, object.NoSuchKey), object.NoSuchKey},
				{"if-none-match *, there", "k", object.IfNoneMatch("*"), object.PreconditionFailed},
				{"if-none-match *, nothing there", "none", object.IfNoneMatch("*"), object.Internal},
			} {
				_, err := c.Put(c.Context(), ref(tt.key), object.PutInput{Body: NewBody([]byte("old"), object.CRC32), Check: tt.check})
				if tt.want == object.Internal {
					c.ok(tt.name, err)
				} else {
					c.fails(tt.name, err, tt.want)
				}
			}
		}},
		{"of 100 who create one object one succeeds", func(c *suite) {
			for round, key := range []string{"k", "in/a/new/place", "k/below"} {
				winner := c.won(winners(100, func(i int) error {
					_, err := c.Put(c.Context(), ref(key), object.PutInput{Body: NewBody([]byte(strconv.Itoa(i)), object.CRC32), Check: object.IfNoneMatch("*")})
					return err
				}, object.PreconditionFailed))
				c.holds(key, strconv.Itoa(winner))
				if got := len(c.keys(1000)); got != round+1 {
					c.Errorf("%d keys", got)
				}
			}
		}},
		{"of many who delete one version one succeeds", func(c *suite) {
			etag := c.put("a/k", "v").ETag
			c.won(winners(20, func(int) error {
				return c.delete(ref("a/k"), object.IfMatch(etag, object.NoSuchKey))
			}, object.NoSuchKey))
			c.lacks("a/k")
		}},
		{"compare and swap loses no update", countUp},
		{"concurrent puts and deletes of siblings do not disturb one another", siblings},
		{"readers see whole versions while writers overwrite", wholeVersions},
	}
}

// is checks that an error is the one given.
func (c *suite) is(what string, err, want error) {
	c.Helper()
	if !errors.Is(err, want) {
		c.Errorf("%s: got error %v, want %v", what, err, want)
	}
}

// countUp has writers increment a counter with If-Match.
func countUp(c *suite) {
	const writers, each = 6, 12
	c.put("n", "0")
	increment := func() error {
		h, err := c.Open(c.Context(), ref("n"))
		if err != nil {
			return err
		}
		content, err := read(h)
		if err = errors.Join(err, h.Close()); err != nil {
			return err
		}
		n, err := strconv.Atoi(string(content))
		if err != nil {
			return err
		}
		_, err = c.Put(c.Context(), ref("n"), object.PutInput{
			Body: NewBody([]byte(strconv.Itoa(n+1)), object.CRC32), Check: object.IfMatch(h.Info().ETag, object.NoSuchKey),
		})
		return err
	}
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for done := 0; done < each; {
				switch err := increment(); {
				case err == nil:
					done++
				case !errors.Is(err, object.PreconditionFailed) && !errors.Is(err, object.Conflict):
					c.Errorf("increment: %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
	c.holds("n", strconv.Itoa(writers*each))
}

// siblings puts and deletes keys that share directories, so that a store that
// makes and removes those does it under the others' hands.
func siblings(c *suite) {
	keys := []string{"a", "a/b", "a/b/c", "a/b/d", "a/e"}
	var wg sync.WaitGroup
	for i, key := range keys {
		wg.Go(func() {
			for round := range 25 {
				content := fmt.Sprintf("%d-%d", i, round)
				_, err := c.Put(c.Context(), ref(key), object.PutInput{Body: NewBody([]byte(content), object.CRC32)})
				if err != nil {
					c.Errorf("put %s: %v", key, err)
					return
				}
				c.holds(key, content)
				if err := c.delete(ref(key), nil); err != nil {
					c.Errorf("delete %s: %v", key, err)
				}
				c.lacks(key)
			}
		})
	}
	wg.Wait()
	c.strings("keys", c.keys(1000), nil)
	c.ok("delete bucket", c.DeleteBucket(c.Context(), bucketName))
}

// wholeVersions has readers check that bytes, ETag and metadata are always of
// one version.
func wholeVersions(c *suite) {
	const versions = 40
	contents := map[string]string{} // ETag -> content type
	for i := range versions {
		contents[fmt.Sprintf("%x", digestOf(pattern(i, 20000+i), object.CRC32).MD5)] = strconv.Itoa(i)
	}
	put := func(i int) error {
		_, err := c.Put(c.Context(), ref("k"), object.PutInput{
			Body: NewBody(pattern(i, 20000+i), object.CRC32), Meta: object.Meta{ContentType: strconv.Itoa(i)},
		})
		return err
	}
	c.ok("put", put(0))
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				h, err := c.Open(c.Context(), ref("k"))
				if err != nil {
					c.Errorf("an object that was always there could not be opened: %v", err)
					return
				}
				content, err := read(h)
				info := h.Info()
				if sum := fmt.Sprintf("%x", digestOf(content, object.CRC32).MD5); err == nil && (sum != info.ETag || contents[sum] != info.Meta.ContentType) {
					c.Errorf("bytes of %s with ETag %s and type %s", sum, info.ETag, info.Meta.ContentType)
				}
				_ = h.Close() // nothing was written
			}
		})
	}
	for i := range versions {
		if err := put(i); err != nil {
			c.Errorf("put: %v", err)
		}
	}
	close(done)
	wg.Wait()
}
