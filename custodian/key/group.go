package key

import (
	"fmt"
	"slices"
	"time"

	"conclave/hsm"
)

// DriverGroup is the driver of a keystore that several keystores are together.
const DriverGroup = "group"

// States of a member of a group.
const (
	MemberServing = "serving"
	MemberDrained = "drained" // for maintenance: nothing is asked of it, and it gets no keys
)

// Bounds of a group (ours): with one member there is nothing to share, and every member more is one more place to guard.
const (
	LeastMembers = 2
	MostMembers  = 5
)

// Group is a keystore that several keystores are together; its members in order of preference.
type Group struct {
	Members []GroupMember `json:"members"`
	// Former members: copies of keys that were made while they were in it may be about.
	Former []string `json:"former,omitempty"`
}

// GroupMember is one keystore of a group.
type GroupMember struct {
	Keystore string    `json:"keystore"`
	State    string    `json:"state"`
	Since    time.Time `json:"since"`
	Ceremony string    `json:"ceremony"` // that brought it in, or into this state
	// Transport is the pair that keys are sent to it under; safe to store in the clear.
	Transport hsm.Material `json:"transport"`
}

// Member returns one member, nil for a keystore that is none.
func (g *Group) Member(keystore string) *GroupMember {
	if g == nil {
		return nil
	}
	for i := range g.Members {
		if g.Members[i].Keystore == keystore {
			return &g.Members[i]
		}
	}
	return nil
}

// IDs of the members, in order of preference.
func (g *Group) IDs() []string {
	var out []string
	for _, m := range g.Members {
		out = append(out, m.Keystore)
	}
	return out
}

// Clone is an independent copy as far as members are concerned.
func (g *Group) Clone() *Group {
	return &Group{Members: slices.Clone(g.Members), Former: slices.Clone(g.Former)}
}

// Lacking are the serving members that do not hold a version with material of the group's; every one must.
func (s *Keystore) Lacking(v *Version) []string {
	if s.Group == nil || v.Keystore != s.ID || !v.State.HasMaterial() {
		return nil
	}
	var out []string
	for _, m := range s.Group.Members {
		if _, has := v.Material.In(m.Keystore); !has && m.State == MemberServing {
			out = append(out, m.Keystore)
		}
	}
	return out
}

// In reports whether material of the version is in a keystore: its own, or a member of it.
func (v *Version) In(keystore string) bool {
	if v.Keystore == keystore {
		return true
	}
	_, has := v.Material.In(keystore)
	return has
}

// validateGroup checks members against each other.
func (s *Keystore) validateGroup() error {
	switch {
	case (s.Driver == DriverGroup) != (s.Group != nil):
		return &FieldError{"driver", s.Driver, "a group where there are members, and nowhere else"}
	case s.Group == nil:
		return nil
	case s.MemberOf != "":
		return &FieldError{"members", "a group in a group", "keystores that hold keys themselves"}
	case s.ShareSet != "":
		return &FieldError{"share_set", "a group has no secret of its own", "none"}
	}
	for i, m := range s.Group.Members {
		field := fmt.Sprintf("members[%d]", i)
		if err := First([]error{CheckID(field, m.Keystore), CheckOneOf(field+".state", m.State, MemberServing, MemberDrained)}); err != nil {
			return err
		}
		if slices.ContainsFunc(s.Group.Members[:i], func(o GroupMember) bool { return o.Keystore == m.Keystore }) {
			return &FieldError{field, m.Keystore + " repeats", "each keystore once"}
		}
	}
	return nil
}
