package recovery

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"conclave/custodian/amount"
	"conclave/custodian/backup"
	"conclave/custodian/ledger"
)

const (
	// maxShown bounds the lines about the lost range that a session carries for its readers (ours).
	maxShown = 500
	// maxIDs bounds the rows that one line names (ours).
	maxIDs = 12
)

// What a session must say where it has nothing to go by.
const (
	noJournal = "no journal was given: destructions, revocations, suspensions and departures after the backup are not known"
	noHead    = "no checkpoint beyond the backup is known; whether anything was recorded after it cannot be said"
)

// tellOf works out what there is to say of the time after a backup.
func tellOf(id string, head ledger.Head, journals *backup.Lost, known []ledger.Head) (*Told, error) {
	lost, err := journals.After(id, head)
	if err != nil {
		return nil, err
	}
	t := &Told{Known: knownBeyond(head, known, lost.Heads), Journals: lost.Parts, Control: lost.To, Restrictions: []string{}}
	if t.Journals == nil {
		t.Journals = []backup.JournalPart{}
	}
	for i := range lost.Facts {
		if line := lost.Facts[i].Line(); line != "" {
			t.Restrictions = append(t.Restrictions, line)
		}
	}
	t.Restrictions = atMost(t.Restrictions, maxShown)
	control := head.ControlCount
	for _, h := range append(slices.Clone(lost.Heads), known...) {
		control = max(control, h.ControlCount)
	}
	t.Deviations = append(t.unknown(head, lost, control), lost.Notes...)
	t.Deviations = append(t.Deviations, undone(lost)...)
	return t, nil
}

// unknown says what about the lost range cannot be known.
func (t *Told) unknown(head ledger.Head, lost *backup.Lost, control uint64) []string {
	var out []string
	if len(t.Journals) == 0 {
		out = append(out, noJournal)
	} else if lost.To < control {
		out = append(out, fmt.Sprintf("journals know the control entries up to %d without a gap, of %d that were seen", lost.To, control))
	}
	if !lost.LastAt.IsZero() {
		out = append(out, "the journals end with an entry of "+lost.LastAt.UTC().Format(time.RFC3339)+"; what happened after it is not known")
	}
	if len(t.Known) == 0 {
		return append(out, noHead)
	}
	return append(out, fmt.Sprintf("ledger entries %d to %d are lost; their control-plane entries that are in the journals stay readable there", head.Size, t.Known[0].Size-1))
}

// undone names the rows that changed after the backup: what of that restricts is applied again, all else is undone.
func undone(lost *backup.Lost) []string {
	var out []string
	for _, kind := range slices.Sorted(maps.Keys(lost.Changed)) {
		ids := lost.Changed[kind]
		line := fmt.Sprintf("%s of kind %s %s made or changed after the backup; what of that did not restrict is undone", amount.Of(len(ids), "row"), strings.ReplaceAll(kind, "_", " "), amount.Verb(len(ids), "was", "were"))
		if kind != kindCeremony {
			line += ": " + strings.Join(atMost(slices.Clone(ids), maxIDs), ", ")
		}
		out = append(out, line)
	}
	return out
}

// kindCeremony is the kind of rows of which there are too many to name.
const kindCeremony = "ceremony"

// atMost cuts a list short and says by how much.
func atMost(lines []string, most int) []string {
	if more := len(lines) - most; more > 0 {
		return append(lines[:most:most], fmt.Sprintf("and %d more", more))
	}
	return lines
}

// check refuses what no journals and checkpoints can tell: a session is signed by people who cannot work it out.
func (t *Told) check(head ledger.Head) error {
	reach := head.ControlCount
	for _, p := range t.Journals {
		reach = max(reach, p.To)
	}
	switch {
	case len(t.Known) > ledger.MaxKnown:
		return fmt.Errorf("%d known heads, at most %d are named", len(t.Known), ledger.MaxKnown)
	case len(t.Journals) == 0 && (!slices.Contains(t.Deviations, noJournal) || len(t.Restrictions) > 0):
		return errors.New("it names no journal and does not say so, or knows what only a journal tells")
	case len(t.Known) == 0 && !slices.Contains(t.Deviations, noHead):
		return errors.New("it names no checkpoint beyond the backup and does not say so")
	case t.Control < head.ControlCount || t.Control > reach:
		return fmt.Errorf("it knows control entries up to %d; its journals reach from %d to %d", t.Control, head.ControlCount, reach)
	}
	return nil
}

// differs says what of a session does not follow from the journals and checkpoints that are there.
func (t *Told) differs(is *Told) string {
	part := func(a, b backup.JournalPart) bool {
		a.File, b.File = "", ""
		return a == b
	}
	switch {
	case !slices.EqualFunc(t.Journals, is.Journals, part):
		return "the journals are not those that the session names"
	case !slices.Equal(t.Known, is.Known):
		return "the checkpoints that are known are not those that the session names"
	case t.Control != is.Control:
		return fmt.Sprintf("the journals know control entries up to %d, the session says %d", is.Control, t.Control)
	case !slices.Equal(t.Restrictions, is.Restrictions):
		return "the session says other things of what must hold again than the journals"
	case !slices.Equal(t.Deviations, is.Deviations):
		return "the session says other things of what is not known than the journals"
	}
	return ""
}
