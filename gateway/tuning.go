package gateway

import "time"

// Tuning is what can come to be another while a Server serves.
type Tuning struct {
	MaxRequests int // as Config has it
	CORSOrigins []string
}

// tuned is what follows from a Tuning.
type tuned struct {
	slots   chan struct{} // one for each request being served
	origins []string
}

// Tune has it come into force for requests that come from now on. Those that are served by then
// do not count among the MaxRequests. It may be called concurrently with everything else.
func (s *Server) Tune(t Tuning) {
	next := &tuned{origins: t.CORSOrigins}
	if now := s.tuned.Load(); now != nil && cap(now.slots) == t.MaxRequests {
		next.slots = now.slots
	} else {
		next.slots = make(chan struct{}, t.MaxRequests)
	}
	s.tuned.Store(next)
}

// admit takes a slot; what it took is given back by finish.
func (s *Server) admit(r *request) error {
	slots := s.tuned.Load().slots
	select {
	case slots <- struct{}{}:
	default:
		timer := time.NewTimer(s.AdmissionWait)
		defer timer.Stop()
		select {
		case slots <- struct{}{}:
		case <-timer.C:
			return errSlowDown
		case <-s.root.Done():
			return errUnavailable
		}
	}
	r.release = func() { <-slots }
	return nil
}
