package auth

import (
	"sync"
	"time"
)

// replayCache remembers the nonces of accepted signed requests until they expire. It is bounded for each
// person, so that nobody can crowd out somebody else; only requests whose signature is right get here, so
// there are no more people than the register has.
type replayCache struct {
	mu     sync.Mutex
	people map[string]map[string]time.Time // person → nonce → expiry
}

// maxNonces is how many unexpired requests one person may have made: 60 s of about 68 calls a second (ours).
const maxNonces = 4096

// graceAfterExpiry keeps a nonce a little longer than its request can be accepted, against a clock that is
// set back in between.
const graceAfterExpiry = 30 * time.Second

type replayVerdict int

const (
	fresh replayVerdict = iota
	replayed
	tooMany
)

func newReplayCache() *replayCache {
	return &replayCache{people: make(map[string]map[string]time.Time)}
}

// use takes a nonce once.
func (c *replayCache) use(person, nonce string, expires, now time.Time) replayVerdict {
	c.mu.Lock()
	defer c.mu.Unlock()
	nonces := c.people[person]
	if nonces == nil {
		nonces = make(map[string]time.Time)
		c.people[person] = nonces
	}
	if _, seen := nonces[nonce]; seen {
		return replayed
	}
	if len(nonces) >= maxNonces {
		for n, end := range nonces {
			if now.After(end.Add(graceAfterExpiry)) {
				delete(nonces, n)
			}
		}
		if len(nonces) >= maxNonces {
			return tooMany
		}
	}
	nonces[nonce] = expires
	return fresh
}
