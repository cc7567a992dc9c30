package policies

import (
	"fmt"
	"slices"
)

// Recover is the operation that restores a bundle which was in force before. What it takes is compiled in: a bundle
// that denies everything, errs or takes for ever cannot stand in its way, nor can it be made easier.
const Recover = "policy.recover"

// recoveryExpiry is how long people have to bring their shares, seconds.
const recoveryExpiry = 1 * day

// recovery is what [Recover] takes: the threshold of a share set, each share with its holder's approval.
func (e *Engine) recovery(in *QuorumInput) (QuorumDecision, error) {
	controls := []string{"pci-dss-4.0.1:3.7.6", "nist-800-53r5:AC-3(2)"}
	d := QuorumDecision{
		Operation: Recover, Class: Attended, Approvals: in.Target.Threshold, ApproverRoles: []string{"custodian"},
		ProposerKinds: []string{"human"}, ProposerRoles: []string{"custodian", "security-officer"}, Shares: true, StepUp: true,
		Diversity: Diversity{Teams: 1, Sites: 1}, ExpirySeconds: recoveryExpiry, CancelRoles: []string{"custodian", "security-officer"},
		Allow: true, PolicyDigest: e.Digest(),
		Reasons: []Reason{{Rule: "program.recovery", Code: "quorum", Controls: controls,
			Message: "compiled in: an earlier policy is restored by the share holders", Remedy: fmt.Sprintf("%d custodians bring their shares", in.Target.Threshold)}},
	}
	if in.Requester.Kind != "human" || !slices.ContainsFunc(in.Requester.Roles, func(r string) bool { return slices.Contains(d.ProposerRoles, r) }) {
		d.Allow = false
		d.Denials = []Reason{{Rule: "program.recovery", Code: "proposer_role", Controls: controls,
			Message: "an earlier policy is asked for by a custodian or a security officer", Remedy: "let one of them ask"}}
	}
	if err := checkFloor(in, &d); err != nil {
		return QuorumDecision{}, err
	}
	return d, nil
}
