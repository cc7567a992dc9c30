package oversight

import "time"

// SearchIndexRow is the id of the one row of [SearchIndex].
const SearchIndexRow = "ledger"

// SearchIndex says that the index of the ledger for searches is to be made anew, as of this row's entry. The index is
// derived and decides nothing; this is who wanted it anew, and why.
type SearchIndex struct {
	By  string    `json:"by"` // who asked, or the node that found it wanting
	Why string    `json:"why"`
	At  time.Time `json:"at"`
}
