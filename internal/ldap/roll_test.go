package ldap

import (
	"errors"
	"slices"
	"testing"
	"time"
)

// office is a directory that knows eve, as its person says, and counts the questions.
type office struct {
	eve   Person
	err   error
	asked int
	now   time.Time
}

func (o *office) find(string) (Person, error) {
	o.asked++
	return o.eve, o.err
}

func (o *office) roll() *Roll {
	return &Roll{find: o.find, now: func() time.Time { return o.now }}
}

const eveDN = "uid=eve,dc=x"

func newOffice() *office {
	return &office{eve: Person{Name: "eve", DN: eveDN, Groups: []string{"cn=devs,dc=x"}}, now: time.Unix(1e9, 0)}
}

func TestWhatADirectorySaysCountsForFiveMinutes(t *testing.T) {
	o := newOffice()
	r := o.roll()
	is := func(what string, asked int, groups ...string) {
		t.Helper()
		got, there, err := r.Groups("eve", eveDN)
		if err != nil || there != (groups != nil) || !slices.Equal(got, groups) || o.asked != asked {
			t.Errorf("%s: %v, %v, %v after %d questions, want %d", what, got, there, err, o.asked, asked)
		}
	}
	is("at first", 1, "cn=devs,dc=x")
	o.eve.Groups = []string{"cn=ops,dc=x"}
	o.now = o.now.Add(5*time.Minute - 1)
	is("before five minutes", 1, "cn=devs,dc=x")
	o.now = o.now.Add(1)
	is("after them", 2, "cn=ops,dc=x")
	o.err = ErrNobody
	o.now = o.now.Add(5 * time.Minute)
	is("when she has left", 3)
	o.err = nil
	is("at once after that", 3)
	o.now = o.now.Add(10 * time.Second)
	is("when she is back", 4, "cn=ops,dc=x")
	o.eve.DN = "uid=eve,ou=other,dc=x"
	o.now = o.now.Add(5 * time.Minute)
	is("when another one has the name", 5)
}

func TestADirectoryThatIsAwayIsBelievedForAnHour(t *testing.T) {
	o := newOffice()
	r := o.roll()
	is := func(what string, asked int, want error) {
		t.Helper()
		if _, there, err := r.Groups("eve", eveDN); !errors.Is(err, want) || there != (want == nil) || o.asked != asked {
			t.Errorf("%s: %v, %v after %d questions, want %d", what, there, err, o.asked, asked)
		}
	}
	o.err = ErrUnavailable
	is("who was never known", 1, ErrUnavailable)
	is("at once after that", 1, ErrUnavailable)
	o.err = nil
	o.now = o.now.Add(10 * time.Second)
	is("when it is back", 2, nil)
	o.err = ErrUnavailable
	o.now = o.now.Add(30 * time.Minute)
	is("away for a while", 3, nil)
	is("at once after that", 3, nil)
	o.now = o.now.Add(30 * time.Minute)
	is("away for an hour", 4, ErrUnavailable)
}

func TestOfManyPeopleSomeAreForgotten(t *testing.T) {
	o := newOffice()
	r := o.roll()
	for i := range maxRoll + 10 {
		if _, _, err := r.Groups(string(rune(i)), eveDN); err != nil {
			t.Fatal(err)
		}
	}
	if len(r.people) > maxRoll {
		t.Errorf("%d are remembered", len(r.people))
	}
}
