package policies

import (
	"fmt"
	"slices"
)

// together makes the verdict on several keystores that are one of the verdicts on each: a key is in all of them, so that
// what stands against one stands against them together. By itself a member takes nothing.
func (d *PlacementDecision) together(in *PlacementInput) error {
	index := make(map[string]int, len(d.Keystores))
	for i, v := range d.Keystores {
		index[v.Keystore] = i
	}
	for _, c := range in.Keystores {
		if len(c.Members) == 0 {
			continue
		}
		whole := &d.Keystores[index[c.ID]]
		for n, member := range c.Members {
			i, judged := index[member]
			if !judged {
				return fmt.Errorf("%w: member %q of keystore %q is no candidate", ErrInput, member, c.ID)
			}
			part := d.Keystores[i]
			whole.Allow = whole.Allow && part.Allow
			if level := part.EffectiveLevel; n == 0 || level < whole.EffectiveLevel {
				whole.EffectiveLevel = level
			}
			for _, r := range part.Reasons {
				r.Message = "member " + member + ": " + r.Message
				whole.Reasons = append(whole.Reasons, r)
			}
			whole.Exceptions = append(whole.Exceptions, part.Exceptions...)
		}
		slices.Sort(whole.Exceptions)
		whole.Exceptions = slices.Compact(whole.Exceptions)
	}
	for _, c := range in.Keystores {
		if c.Group == "" {
			continue
		}
		v := &d.Keystores[index[c.ID]]
		v.Allow = false
		v.Reasons = append(v.Reasons, Reason{Rule: "place", Code: "keystore_in_group", Message: "keystore " + c.ID + " is a member of group " + c.Group + " and takes no keys by itself",
			Remedy: "place the key in " + c.Group})
	}
	return nil
}
