package objecttest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/shoal-storage/shoal/internal/object"
)

// oddKeys returns keys of every shape that a store on a file system could get
// wrong. With -short they lie in 64 directories at most: of a file server each of a
// thousand is asked for, by each call.
func oddKeys() []string {
	depth := 1024
	if testing.Short() {
		depth = 64
	}
	keys := []string{
		"a", "a/", "a//", "a/b", "a//b", "a/b/", "a/b/c", "/", "//", "/a", "//a", "/a/",
		".", "..", "./", "../", "./a", "../a", "a/.", "a/..", "a/./b", "a/../b", "../../etc/passwd", "...", ".hidden", "a/.hidden",
		" ", "a ", " a", "a.", "\t", "\n", "a\nb", "a\r", "\x01", "\x7f", "a\x00b", "\x00", "\xff", "\xff\xfe", "a/\x80/b", "\xc3\x28", "ä", "a\u0308", "日本", "😀",
		"=e=%41", "=0=", "=l=", "=f=", "=f=a", "=e=", "=", "==", "%41", "%2F", "%", "a%00", "=e=%41/=0=/x", "a=e=%41",
		".shoal.sys", ".shoal.sys/x", ".nfs0000000000000001", "a/.nfs0000000000000001", ".snapshot", ".snapshot/x", "a/.snapshot", ".snap", ".fuse_hidden0001", ".nasfs.sys", "lost+found",
		"Foo", "foo", "FOO", "CON", "con", "aux.txt", "nul", `a\b`, `\`, "a:b", "C:", `a"b`, "a*b", "a?b", "a|b", "<a>", "~", "#a", "$a", "&", "'", "`", "+", ";", "!",
	}
	for _, n := range []int{254, 255, 256, 257, 600} {
		keys = append(keys, strings.Repeat("n", n), "d/"+strings.Repeat("n", n), strings.Repeat("n", n)+"/x")
	}
	return append(keys, strings.Repeat("n", 1024), strings.Repeat("n", 1023)+"/", strings.Repeat("/", depth), strings.Repeat("a/", depth/2),
		strings.Repeat("ü", 512), strings.Repeat("=", 1024), strings.Repeat("\xff", 1024), strings.Repeat("\n", 1024), strings.Repeat(".", 1024), strings.Repeat("../", depth/3))
}

func keyTests() []test {
	return []test{
		{"keys of every shape can be put, read, listed and deleted", func(c *suite) {
			for _, key := range oddKeys() {
				c.put(key, "content of "+key)
				c.holds(key, "content of "+key)
				c.strings("the only key", c.keys(10), []string{key})
				c.ok("delete", c.delete(ref(key), nil))
				c.lacks(key)
			}
			c.strings("keys", c.keys(10), nil)
			c.ok("nothing is left in the bucket", c.DeleteBucket(c.Context(), bucketName))
		}},
		{"keys of every shape live side by side", func(c *suite) {
			want := map[string]string{}
			for _, key := range oddKeys() {
				c.lacks(key)
				c.put(key, "content of "+key)
				want[key] = "content of " + key
			}
			for key, content := range want {
				c.holds(key, content)
			}
			c.strings("keys", c.keys(1000), sortedKeys(want))
			c.strings("keys by pages of 7", c.keys(7), sortedKeys(want))
			for _, key := range oddKeys() {
				c.ok(fmt.Sprintf("delete %.60q", key), c.delete(ref(key), nil))
				c.lacks(key)
				delete(want, key)
			}
			c.strings("keys", c.keys(10), nil)
		}},
		{"deleting one key of any shape leaves the others", func(c *suite) {
			want := map[string]string{}
			for _, key := range oddKeys() {
				c.put(key, "v")
				want[key] = "v"
			}
			keys := slices.Clone(oddKeys())
			slices.Reverse(keys)
			for i, key := range keys {
				c.ok(fmt.Sprintf("delete %.60q", key), c.delete(ref(key), nil))
				delete(want, key)
				if i%10 == 0 {
					c.strings("keys", c.keys(1000), sortedKeys(want))
				}
			}
			c.ok("nothing is left in the bucket", c.DeleteBucket(c.Context(), bucketName))
		}},
		{"a key and a key below it live in any order", keyAndBelow},
		{"a prefix of a key is not a key", func(c *suite) {
			c.put("a/b/c", "v")
			for _, key := range []string{"a", "a/", "a/b", "a/b/", "a/b/c/", "a/b/c/d", "a//b/c", "/a/b/c"} {
				c.lacks(key)
				c.ok("delete", c.delete(ref(key), nil))
			}
			c.holds("a/b/c", "v")
		}},
		{"an object overwritten by itself many times has one key", func(c *suite) {
			for i := range 50 {
				c.put("a/b", fmt.Sprint(i))
			}
			c.holds("a/b", "49")
			c.strings("keys", c.keys(10), []string{"a/b"})
		}},
	}
}

// keyAndBelow puts "a", "a/b" and "a/" in every order and deletes them in every
// order.
func keyAndBelow(c *suite) {
	orders := [][]string{{"a", "a/b", "a/"}, {"a", "a/", "a/b"}, {"a/b", "a", "a/"}, {"a/b", "a/", "a"}, {"a/", "a", "a/b"}, {"a/", "a/b", "a"}}
	for _, puts := range orders {
		for _, deletes := range orders {
			there := map[string]string{}
			for _, key := range puts {
				c.put(key, "content of "+key)
				there[key] = "content of " + key
				c.there(there)
			}
			for _, key := range deletes {
				c.ok("delete", c.delete(ref(key), nil))
				delete(there, key)
				c.lacks(key)
				c.there(there)
			}
		}
	}
}

// there checks that the bucket holds exactly these objects.
func (c *suite) there(want map[string]string) {
	c.Helper()
	for key, content := range want {
		c.holds(key, content)
	}
	c.strings("keys", c.keys(1000), sortedKeys(want))
	_, err := c.Stat(c.Context(), object.Ref{Bucket: bucketName, Key: "a/b/"})
	c.fails("stat", err, object.NoSuchKey)
}
