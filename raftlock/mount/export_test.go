package mount

// Idle reports whether no call is inside the file system, not even one that
// nobody waits for.
func Idle(m *Mount) bool { return m.calls.InUse() == 0 }
