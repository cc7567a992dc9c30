package cli

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"conclave/app/api"
	"conclave/app/client"
)

func ledgerSearch() *cobra.Command {
	c := &cobra.Command{
		Use: "search", Short: "Find ledger entries by who, what, which key, which ceremony and when", Args: exactly(),
		Long: "Lists the entries to which all of the conditions apply. With a trust file every one of them is proven to be in the\n" +
			"ledger. That no other entry applies is the service's word: an exported ledger or an evidence bundle shows that.",
	}
	var q client.LedgerQuery
	f := c.Flags()
	f.StringVar(&q.Actor, "actor", "", "who: an id, or kind:id")
	f.StringVar(&q.Key, "key", "", "key acted on or used, in batches too")
	f.StringVar(&q.Target, "target", "", "on what: an id, or type:id")
	f.StringVar(&q.Ceremony, "ceremony", "", "ceremony that it belongs to")
	f.StringVar(&q.Operation, "operation", "", "type with everything under it, as key.use")
	f.StringVar(&q.Outcome, "outcome", "", "allow, deny, done or failed")
	since := f.String("since", "", "beginning: a day or instant")
	until := f.String("until", "", "end, exclusive: a day or instant")
	f.BoolVar(&q.NewestFirst, "newest-first", false, "turn the order round")
	limit := f.Int("limit", 100, "most entries to list")
	c.RunE = action(func(s *session, _ *cobra.Command, _ []string) (err error) {
		if *since != "" {
			if q.Since, err = parseTime("since", *since); err != nil {
				return err
			}
		}
		if *until != "" {
			if q.Until, err = parseTime("until", *until); err != nil {
				return err
			}
		}
		if err := s.connectAny(); err != nil {
			return err
		}
		found, more, err := s.searchLedger(q, *limit)
		if err != nil {
			return err
		}
		if more {
			s.say("There are more: narrow the search, or raise --limit.")
		}
		return s.show(found, func(w io.Writer) {
			list := make([]json.RawMessage, len(found))
			for i, e := range found {
				list[i] = e.Entry
			}
			writeEntries(w, list)
		})
	})
	return c
}

// searchLedger collects what is found, and proves it where there is a trust file.
func (s *session) searchLedger(q client.LedgerQuery, limit int) (found []api.ProvenEntry, more bool, err error) {
	proven := s.settings[setTrust] != ""
	found = []api.ProvenEntry{}
	var said deletions
	for page, err := range s.client.SearchLedger(s.ctx, q) {
		if err != nil {
			return nil, false, err
		}
		s.sayDeleted(&said, page.Deleted)
		for _, e := range page.Items {
			if len(found) == limit {
				return found, true, nil
			}
			if proven {
				if err := s.proveEntry(e.Seq, e.Entry, e.Inclusion, page.Checkpoint); err != nil {
					return nil, false, fmt.Errorf("entry %d: %w", e.Seq, err)
				}
			}
			found = append(found, e)
		}
	}
	if proven {
		s.say("Entries found, each proven to be in the ledger of the trust file: %d.", len(found))
	} else {
		s.say("Not proven: no trust file.")
	}
	return found, false, nil
}

func ledgerRebuildIndex() *cobra.Command {
	c := &cobra.Command{
		Use: "rebuild-index", Short: "Have the index for searches made anew from the ledger", Args: exactly(),
		Long: "Asks for the index to be made anew, which is recorded. It begins within a minute; until it is done searches look at every\n" +
			"entry. The service holds the index against the ledger all the time and does this by itself where something is missing.",
	}
	reason := c.Flags().String("reason", "", "why")
	c.RunE = action(func(s *session, _ *cobra.Command, _ []string) error {
		return s.propose("index.rebuild", map[string]any{}, *reason)
	})
	return must(c, "reason")
}
