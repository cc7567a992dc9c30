package ceremony

import (
	"fmt"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"conclave/custodian/clock"
	"conclave/policies"
)

// Allowance is how many ceremonies one person may ask this process for. Each costs a token, and one more for each
// budgetUnit of its parameters and its signed request, which its row keeps. What ended, was refused by others or cancelled
// gives nothing back.
type Allowance struct {
	Burst int           // at once
	Every time.Duration // a token comes back
	Daily int           // tokens in a day, coming back evenly over 24 h
}

// Allowances (ours). A person who works by hand, or with a script over some hundred keys, stays within them; one stolen
// credential fills about 10 MB a day at most. What restricts has an allowance of its own, so that nobody who is
// out of the first is kept from suspending in an emergency. Ended ceremonies leave memory, so that what adds up is disk.
var (
	standardAllowance   = Allowance{Burst: 150, Every: 5 * time.Second, Daily: 600}
	protectiveAllowance = Allowance{Burst: 500, Every: time.Second, Daily: 2000}
)

const (
	budgetUnit = 4 << 10
	// budgetNoted is how often it is recorded that somebody is out of tokens.
	budgetNoted = time.Hour
)

// BudgetError: somebody has asked for as many ceremonies as one person may for now. Nothing was judged or changed.
type BudgetError struct {
	Person string
	Wait   time.Duration // until the same is possible
	note   bool          // to be recorded: not again for some time
}

func (e *BudgetError) Error() string {
	return fmt.Sprintf("%s has asked for as many ceremonies as one person may; the next is possible in %s", e.Person, e.Wait.Round(time.Second))
}

// budget counts what people ask for. It is this process's: each replica counts by itself.
type budget struct {
	clock    clock.Clock
	standard Allowance
	mu       sync.Mutex
	people   map[budgetKey]*purse // no more than twice the register's people
}

type budgetKey struct {
	person     string
	protective bool
}

type purse struct {
	burst, daily *rate.Limiter
	noted        time.Duration // monotonic; when being out of tokens was last recorded
	everNoted    bool
}

func newBudget(c clock.Clock, standard Allowance) *budget {
	if standard == (Allowance{}) {
		standard = standardAllowance
	}
	return &budget{clock: c, standard: standard, people: make(map[budgetKey]*purse)}
}

func (a Allowance) purse() *purse {
	return &purse{burst: rate.NewLimiter(rate.Every(a.Every), a.Burst), daily: rate.NewLimiter(rate.Every(24*time.Hour/time.Duration(a.Daily)), a.Daily)}
}

// take takes what a ceremony of a class and a size in bytes costs. Error: *BudgetError.
func (b *budget) take(person string, class policies.Class, size int) error {
	k, allowance := budgetKey{person, class == policies.Protective}, b.standard
	if k.protective {
		allowance = protectiveAllowance
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.people[k]
	if p == nil {
		p = allowance.purse()
		b.people[k] = p
	}
	elapsed := b.clock.Elapsed()
	now := time.Unix(0, 0).Add(elapsed) // monotonic time on the calendar that rate.Limiter reckons with
	cost := min(1+size/budgetUnit, allowance.Burst, allowance.Daily)
	burst, daily := p.burst.ReserveN(now, cost), p.daily.ReserveN(now, cost)
	wait := max(burst.DelayFrom(now), daily.DelayFrom(now))
	if wait <= 0 {
		return nil
	}
	burst.CancelAt(now)
	daily.CancelAt(now)
	note := !p.everNoted || elapsed-p.noted >= budgetNoted
	if note {
		p.noted, p.everNoted = elapsed, true
	}
	return &BudgetError{Person: person, Wait: wait, note: note}
}
