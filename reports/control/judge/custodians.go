package judge

import (
	"context"
	"fmt"

	"conclave/custodian/amount"
	"conclave/custodian/people"
	"conclave/reports/control"
)

// FewestCustodians judges 3.6.1.3 for every share set of the instance.
func FewestCustodians(_ context.Context, ev *control.Evidence) control.Result {
	sets := control.NewTable("Share sets and who holds them",
		control.Column{Name: "share set", Type: control.ID}, control.Column{Name: "epoch", Type: control.Integer},
		control.Column{Name: "threshold m", Type: control.Integer}, control.Column{Name: "shares n", Type: control.Integer},
		control.Column{Name: "in the register", Type: control.Integer}, control.Column{Name: "holders", Type: control.Text})
	for _, set := range ev.ShareSets {
		if set.Value.InForce() {
			addSet(ev, sets, set)
		}
	}
	return control.Conclude(control.Finding{
		Tables: []*control.Table{sets},
		Good:   fmt.Sprintf("%s: each share has one holder, nobody holds two of a set, and no holder is an administrator.", amount.Of(sets.Total, "share set")),
		Bad:    fmt.Sprintf("%s held by other people than the fewest.", of(sets.Violating, sets.Total, "share set")),
		Empty:  "There is no share set, so it is not shown who could reach a component.",
	})
}

func addSet(ev *control.Evidence, t *control.Table, set control.Record[people.ShareSet]) {
	ss := set.Value
	shares := ev.CurrentShares(ss)
	var f control.Faults
	f.Check(ss.Threshold >= 2, fmt.Sprintf("threshold %d lets one person act", ss.Threshold))
	f.Check(ss.Threshold < ss.Total, fmt.Sprintf("threshold %d of %d leaves no spare, which tempts to copies", ss.Threshold, ss.Total))
	f.Check(2*ss.Threshold > ss.Total, fmt.Sprintf("threshold %d of %d lets two groups act apart", ss.Threshold, ss.Total))
	f.Check(len(shares) == ss.Total, fmt.Sprintf("%s in the register for a set of %d", amount.Of(len(shares), "share"), ss.Total))
	held, indices := map[string]int{}, map[int]bool{}
	holders := make([]string, 0, len(shares))
	proof := []control.Ref{set.Ref}
	for _, s := range shares {
		proof = append(proof, s.Ref)
		holders = append(holders, s.Value.Custodian)
		if held[s.Value.Custodian]++; held[s.Value.Custodian] == 2 {
			f = append(f, s.Value.Custodian+" holds more than one share")
		}
		f.Check(!indices[s.Value.Index], fmt.Sprintf("share %d is registered twice", s.Value.Index))
		indices[s.Value.Index] = true
		p := ev.Person(s.Value.Custodian)
		if p == nil {
			f = append(f, s.Value.Custodian+" is not in the register of people")
			continue
		}
		proof = append(proof, p.Ref)
		f.Check(!has(p.Value, people.RoleAdministrator), s.Value.Custodian+" is an administrator and holds a share")
	}
	t.Add(control.OK, f, control.Proves(proof...), ss.ID, control.Int(ss.Epoch), control.Int(ss.Threshold), control.Int(ss.Total),
		control.Int(len(shares)), list(holders))
}

func has(p people.Person, role people.Role) bool {
	for _, r := range p.Roles {
		if r == role {
			return true
		}
	}
	return false
}
