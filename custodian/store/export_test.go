package store

import "context"

// Waiting is the number of requests that no round has taken yet.
func Waiting(s *Store) int {
	s.queue.mu.Lock()
	defer s.queue.mu.Unlock()
	return len(s.queue.control) + len(s.queue.data)
}

// ExecWrite runs a statement on a writer's connection.
func ExecWrite(s *Store, query string) error {
	_, err := s.db.write.ExecContext(context.Background(), query)
	return err
}

// CheckStall does at once what the watching goroutine does each second.
func CheckStall(s *Store) { s.stall.check() }
