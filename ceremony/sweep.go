package ceremony

// Sweep wipes shares that were brought to this process for a ceremony that has ended: it may have ended on
// another replica, or while a share was on its way; and it looks at the clock. Every replica calls it every few seconds.
func (e *Engine) Sweep() {
	e.ClockProblem()
	view := e.store.View()
	e.mu.Lock()
	defer e.mu.Unlock()
	for id, collector := range e.gathering {
		c, err := load(view, id)
		if err == nil && !c.State.Ended() {
			continue
		}
		collector.Wipe()
		delete(e.gathering, id)
	}
}

// Gathered is how many shares this process holds in memory, over all ceremonies.
func (e *Engine) Gathered() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := 0
	for _, collector := range e.gathering {
		n += collector.Count()
	}
	return n
}
