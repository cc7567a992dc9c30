package policies

import (
	"encoding/json"
	"fmt"
	"time"
)

// maxCacheSeconds is the longest a bundle may let a data key be reused: an hour (ours).
const maxCacheSeconds = 3600

// readCaching reads how long applications may reuse one data key, by classification (data/classifications.json,
// cache_seconds; absent is 0, not at all).
func (b *bundle) readCaching() (map[string]time.Duration, error) {
	tables, _ := b.data["tables"].(map[string]any)
	classes, _ := tables["classifications"].(map[string]any)
	out := make(map[string]time.Duration, len(classes))
	for class, row := range classes {
		facts, _ := row.(map[string]any)
		value, set := facts["cache_seconds"]
		if !set {
			continue
		}
		number, _ := value.(json.Number)
		seconds, err := number.Int64()
		if err != nil || seconds < 0 || seconds > maxCacheSeconds {
			return nil, fmt.Errorf("%w: data/classifications.json: %s: cache_seconds is %v, allowed are whole numbers from 0 to %d", ErrBundle, class, value, maxCacheSeconds)
		}
		out[class] = time.Duration(seconds) * time.Second
	}
	return out, nil
}

// CacheFor is how long an application may reuse one data key made for a classification; 0 is not at all, so that
// every use is on record.
func (e *Engine) CacheFor(classification string) time.Duration { return e.caching[classification] }
