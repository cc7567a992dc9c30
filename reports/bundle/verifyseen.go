package bundle

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"

	"conclave/custodian/amount"
)

// Every statement names a recent checkpoint, so whoever signs one is a witness of what the log held then: somebody with
// the log key can write another log, and not make them have signed for it.

// rests counts statements by whether the checkpoint that they name is shown to be one of this log.
type rests struct{ shown, unknown int }

// wanted notes the sizes that statements name, before the walks over the log that show its roots. What is wrong with rows is
// found where they are checked.
func (v *verifier) wanted(ctx context.Context) error {
	data, err := v.archive.read(fileRows)
	if err != nil {
		return nil
	}
	var index RowIndex
	if decode(fileRows, data, &index) != nil {
		return nil
	}
	for _, row := range index.Rows {
		if row.Kind != kindCeremony || row.File == "" {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		var c struct {
			Checkpoint string `json:"checkpoint"`
		}
		body, err := v.archive.read(row.File)
		if err != nil || json.Unmarshal(body, &c) != nil {
			continue
		}
		text, _, _ := strings.Cut(c.Checkpoint, " ")
		if size, err := strconv.ParseUint(text, 10, 53); err == nil && size <= v.head.Size {
			v.sizes = append(v.sizes, size)
		}
	}
	slices.Sort(v.sizes)
	v.sizes = slices.Compact(v.sizes)
	return nil
}

// restsOn holds the checkpoint that somebody signed to the log, where the bundle shows what root it had then.
func (v *verifier) restsOn(s *signedStatement) error {
	if s.Checkpoint.Size > v.head.Size {
		return fmt.Errorf("it rests on a log of %d entries, the checkpoint has %d", s.Checkpoint.Size, v.head.Size)
	}
	root, known := v.roots[s.Checkpoint.Size]
	if !known {
		v.rests.unknown++
		return nil
	}
	if base64.StdEncoding.EncodeToString(root[:]) != s.Checkpoint.Root {
		return fmt.Errorf("the log of %d entries on which it rests had another root than this one's: entries were exchanged since", s.Checkpoint.Size)
	}
	v.rests.shown++
	return nil
}

func (v *verifier) sayRests() {
	if n := v.rests.shown; n > 0 {
		v.say("Of the statements that people signed %d name a checkpoint that this log had then: who approved is a witness of what it held.", n)
	}
	if n := v.rests.unknown; n > 0 {
		v.say("Of %s it is NOT shown that the checkpoint named there is one of this log: the bundle does not hold the entries before it.", amount.Of(n, "statement"))
	}
}
