package lock

// Mark is a place in the order of the changes made under exclusive leases, as a
// lock service gives it out. The zero Mark is none.
type Mark string

// Changes is what has happened since a Mark.
type Changes struct {
	// Known says that Names is complete. Otherwise anything may have changed.
	Known bool
	// Names are those that exclusive leases were on that have ended since, or are
	// on now: what lies under them has changed, or may have, or may do so now.
	Names []string
	// Next is where to ask from the next time. It is good for what is read after
	// it was given, and for what was read before if Known and Names was read
	// again. The zero Mark says that nothing read now can be kept.
	Next Mark
}
