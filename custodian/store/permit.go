package store

import "fmt"

// permit asks whether this process may still write by a state that was committed, and bars it where it may not: whatever
// it was asked to record after that state is refused. So a node that is revoked elsewhere records nothing more, and
// nothing that has to be recorded before it is answered is answered.
func (s *Store) permit(view *View) {
	if s.cfg.Permit == nil {
		return
	}
	err := s.cfg.Permit(view)
	if err == nil {
		return
	}
	err = fmt.Errorf("%w: %w", ErrBarred, err)
	s.barring.Do(func() {
		s.halt.CompareAndSwap(nil, &err)
		s.cfg.Logger.Error("ledger writing has stopped", "reason", err)
		close(s.barred)
	})
}

// Barred is closed once this process may not write any more: see [Config].Permit.
func (s *Store) Barred() <-chan struct{} { return s.barred }

// Standing is nil while this process may write as far as Permit goes, and then why not: [ErrBarred].
func (s *Store) Standing() error {
	select {
	case <-s.barred:
	default:
		return nil
	}
	if s.cfg.Permit != nil {
		if err := s.cfg.Permit(s.View()); err != nil {
			return fmt.Errorf("%w: %w", ErrBarred, err)
		}
	}
	return ErrBarred // released meanwhile, which this process does not come back from
}
