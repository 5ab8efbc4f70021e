package drive

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/shoal-storage/shoal/erasure/register"
)

func TestNoShardIsRemovedWhileARegisterComesToReferToIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bindings
		ids := []register.DataID{{1}, {2}}
		unbind := b.bind(ids)
		if b.free(ids[0]) != nil {
			t.Error("it can be removed between the look and the commit")
		}
		unbind()
		over := b.free(ids[1])
		if b.free(ids[1]) != nil {
			t.Error("it is removed twice")
		}
		bound := false
		go func() {
			defer b.bind(ids)()
			bound = true
		}()
		time.Sleep(time.Hour)
		if bound {
			t.Error("it is bound while it is removed")
		}
		over()
		synctest.Wait()
		if !bound || len(b.bound)+len(b.freed) > 0 {
			t.Errorf("bound %v, left %d and %d", bound, len(b.bound), len(b.freed))
		}
	})
}
