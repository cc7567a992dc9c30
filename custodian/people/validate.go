package people

import (
	"fmt"
	"slices"
	"unicode/utf8"

	"conclave/custodian/key"
)

const (
	maxApprovalKeys = 8  // that may sign
	maxCredentials  = 64 // with the revoked ones, which are kept
	maxGroups       = 32
	maxFormerKeys   = 256 // share keys given up, which are kept
)

// Roles returns all roles.
func Roles() []Role {
	return []Role{RoleCustodian, RoleSecurityOfficer, RoleKeyManager, RoleKeyOwner, RoleWitness, RoleAuditor, RoleAdministrator}
}

// Has reports whether the person holds the role, whatever their status.
func (p *Person) Has(role Role) bool { return slices.Contains(p.Roles, role) }

// Validate checks the record and names the first field that is wrong (*key.FieldError). Relations to other
// records are checked by CheckLines and CheckAssignments.
func (p *Person) Validate() error {
	checks := []error{
		key.CheckID("id", p.ID),
		key.CheckText("name", p.Name, 128, false),
		key.CheckText("staff_number", p.StaffNumber, 64, true),
		CheckRoles(p.Roles),
		checkGroups(p.Groups),
		key.CheckRange("former_share_keys", len(p.FormerShareKeys), 0, maxFormerKeys, "keys"),
		key.CheckText("team", p.Team, 64, false),
		key.CheckText("site", p.Site, 64, false),
		key.CheckText("manager", p.Manager, 128, true),
		key.CheckText("organisation", p.Organisation, 128, true),
		key.CheckOneOf("status", p.Status, StatusActive, StatusSuspended, StatusLeft),
		key.CheckText("suspended_reason", p.SuspendedReason, 500, true),
		key.CheckText("left_reason", p.LeftReason, 500, true),
	}
	if p.Backup != "" {
		checks = append(checks, key.CheckID("backup", p.Backup))
	}
	if p.Backup == p.ID {
		checks = append(checks, &key.FieldError{Field: "backup", Problem: "the person themselves", Allowed: "another person, or nothing"})
	}
	if p.Manager == p.ID {
		checks = append(checks, &key.FieldError{Field: "manager", Problem: "the person themselves", Allowed: "another person, or nothing"})
	}
	if p.Until != nil && slices.ContainsFunc(p.Roles, func(r Role) bool { return r != RoleAuditor }) {
		checks = append(checks, &key.FieldError{Field: "until", Problem: "roles other than auditor would end by themselves", Allowed: "an end for people who are auditors only; others leave by custodian.remove, which looks at what rests on them"})
	}
	err := key.First([]error{
		key.CheckRange("approval_keys", len(p.ApprovalKeys), 1, maxCredentials, "keys, the revoked ones among them"),
		key.CheckRange("approval_keys", len(p.Live()), 0, maxApprovalKeys, "keys that are not revoked"),
	})
	if err != nil {
		return key.First(append(checks, err))
	}
	for i := range p.ApprovalKeys {
		field := fmt.Sprintf("approval_keys[%d]", i)
		checks = append(checks, checkCredential(field, &p.ApprovalKeys[i]))
		if slices.ContainsFunc(p.ApprovalKeys[:i], func(c Credential) bool { return c.ID == p.ApprovalKeys[i].ID }) {
			checks = append(checks, &key.FieldError{Field: field, Problem: "repeats", Allowed: "each key once"})
		}
	}
	if p.Has(RoleCustodian) || len(p.ShareKey) > 0 || p.ShareKeyID != "" || len(p.BackupShareKey) > 0 || p.BackupShareKeyID != "" {
		checks = append(checks, checkShareKey(p))
	}
	return key.First(checks)
}

// CheckRoles checks the list and the separation of duties inside one person: who leads ceremonies holds no
// share, who audits does nothing that is audited.
func CheckRoles(roles []Role) error {
	if len(roles) == 0 {
		return &key.FieldError{Field: "roles", Problem: "empty", Allowed: "at least one role"}
	}
	for i, r := range roles {
		field := fmt.Sprintf("roles[%d]", i)
		if err := key.CheckOneOf(field, r, Roles()...); err != nil {
			return err
		}
		if slices.Contains(roles[:i], r) {
			return &key.FieldError{Field: field, Problem: fmt.Sprintf("%q repeats", r), Allowed: "each role once"}
		}
	}
	if slices.Contains(roles, RoleAdministrator) && slices.Contains(roles, RoleCustodian) {
		return &key.FieldError{Field: "roles", Problem: "administrator and custodian in one person", Allowed: "a ceremony administrator holds no share"}
	}
	if slices.Contains(roles, RoleAuditor) {
		for _, r := range roles {
			if r != RoleAuditor && r != RoleWitness {
				return &key.FieldError{Field: "roles", Problem: fmt.Sprintf("auditor and %s in one person", r), Allowed: "an auditor may witness, nothing else"}
			}
		}
	}
	return nil
}

func checkGroups(groups []string) error {
	if err := key.CheckRange("groups", len(groups), 0, maxGroups, "groups"); err != nil {
		return err
	}
	for i, g := range groups {
		field := fmt.Sprintf("groups[%d]", i)
		if err := key.CheckID(field, g); err != nil {
			return err
		}
		if slices.Contains(groups[:i], g) {
			return &key.FieldError{Field: field, Problem: fmt.Sprintf("%q repeats", g), Allowed: "each group once"}
		}
	}
	return nil
}

// clip keeps what an error echoes short.
func clip(s string) string {
	for len(s) > 80 {
		_, size := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-size]
	}
	return s
}
