package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"
	"time"

	"conclave/app/api"
	"conclave/app/auth"
	"conclave/ceremony"
	"conclave/ceremony/bundles"
	"conclave/ceremony/operation"
	"conclave/ceremony/shamir"
	"conclave/custodian"
	"conclave/custodian/identity"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/segment"
	"conclave/custodian/store"
	"conclave/hsm"
	"conclave/policies"
)

// problemType is the prefix of problem types (RFC 9457 section 3.1.1).
const problemType = "urn:conclave:problem:"

// sentinel is how one error is answered. show: its text may be told; it holds words of ours and ids only.
type sentinel struct {
	err    error
	status int
	code   string
	title  string
	show   bool
}

// sentinels in order of precedence. Codes are stable.
func sentinels() []sentinel {
	const (
		bad         = http.StatusBadRequest
		conflict    = http.StatusConflict
		unavailable = http.StatusServiceUnavailable
		busy        = http.StatusTooManyRequests
	)
	return []sentinel{
		{errNoRoute, http.StatusNotFound, "not_found", "No such route", false},
		{errMethod, http.StatusMethodNotAllowed, "method_not_allowed", "Method not allowed", false},
		{errBodySize, http.StatusRequestEntityTooLarge, "body_too_large", "Body too large", false},
		{errBody, bad, "bad_request", "Body could not be read", false},
		{errBusy, busy, "rate_limited", "Too many requests at once", false},
		{errAnonymous, busy, "rate_limited", "Too many requests without credentials", false},
		{ErrReportsBusy, busy, "rate_limited", "Too many reports wait", false},
		{ErrNoReport, http.StatusNotFound, "not_found", "No such report", true},
		{errReports, busy, "rate_limited", "Too many reports at once", false},
		{bundles.ErrBusy, busy, "rate_limited", "Another policy bundle is being tried", false},
		{bundles.ErrFull, conflict, "conflict", "Too many proposed bundles are in open ceremonies", false},
		{errRate, busy, "rate_limited", "Request rate exceeded", false},

		{custodian.ErrBadCiphertext, bad, "bad_ciphertext", "Ciphertext is malformed, altered, or not for this context", false},
		{custodian.ErrNotThisKey, bad, "wrong_key", "Ciphertext belongs to another key", false},
		{custodian.ErrForeign, bad, "foreign_ciphertext", "Ciphertext belongs to another instance", false},
		{hsm.ErrInactive, unavailable, custodian.CodeKeystoreInactive, "Keystore is inactive", false},
		{hsm.ErrUnavailable, unavailable, custodian.CodeKeystoreUnavailable, "Keystore does not answer", false},

		{custodian.ErrBusy, unavailable, custodian.CodeBusy, "Too many key pairs are being made at once", false},

		{shamir.ErrForeignSet, bad, "share_foreign", "Share of another set", true},
		{shamir.ErrStaleEpoch, bad, "share_stale", "Share of an earlier epoch", true},
		{shamir.ErrRepeated, bad, "share_repeated", "Share already given", true},
		{shamir.ErrWrongShare, bad, "share_wrong", "Wrong share", true},
		{shamir.ErrNotIssued, bad, "share_wrong", "Share was never issued", true},
		{shamir.ErrDamaged, bad, "share_wrong", "Damaged share", true},
		{shamir.ErrSealed, bad, "share_wrong", "Malformed sealed share", true},
		{shamir.ErrNotFor, bad, "share_stale", "Share is sealed to another key", true},
		{shamir.ErrUnseal, bad, "share_wrong", "Sealed share does not open", true},
		{ceremony.ErrCollector, bad, "share_stale", "Share was not sealed to this node's present collector key", true},
		{operation.ErrInvitationOver, http.StatusGone, "invitation_over", "Invitation can not be answered any more", true},
		{operation.ErrInvitationUsed, conflict, "invitation_used", "Invitation was answered before", true},
		{operation.ErrChallenge, bad, "invalid_field", "Challenge is not valid", true},

		{ceremony.ErrNotFound, http.StatusNotFound, "not_found", "No such ceremony", true},
		{ceremony.ErrEnded, conflict, "ceremony_ended", "Ceremony has ended", true},
		{ceremony.ErrVoid, conflict, "revision_changed", "What was approved has changed", true},
		{ceremony.ErrAlreadyVoted, conflict, "conflict", "Already decided", true},
		{ceremony.ErrNotNow, conflict, "conflict", "Not at this step", true},
		{ceremony.ErrQuorum, conflict, "conflict", "Quorum not reached", true},
		{ceremony.ErrWaiting, conflict, "conflict", "Waiting period is not over", true},
		{ceremony.ErrUnconfirmed, conflict, "conflict", "Too few confirmed shares", true},
		{ceremony.ErrIndeterminate, conflict, "indeterminate", "Outcome is not known yet", true},
		{ceremony.ErrClockDisagrees, unavailable, "clock_disagrees", "Clock disagrees", true},
		{ceremony.ErrStatement, bad, "bad_request", "Signed statement does not fit", true},

		{store.ErrIdempotencyConflict, conflict, "conflict", "Idempotency key was used for another request", false},
		{policies.ErrInput, bad, "invalid_field", "Policy input is malformed", true},
		{policies.ErrPolicy, http.StatusForbidden, "policy_error", "Policy reached no decision", false},
		{store.ErrBarred, unavailable, "node_revoked", "This node is revoked; others may serve", true},
		{custodian.ErrNodeRevoked, http.StatusForbidden, "node_revoked", "The node is revoked", true},
		{store.ErrEdited, unavailable, "integrity", "Record contradicts the ledger", false},
		{store.ErrRollback, unavailable, "integrity", "Ledger was rolled back", false},
		{store.ErrFork, unavailable, "integrity", "Ledger was forked", false},
		{ledger.ErrTileMissing, unavailable, "integrity", "Part of the ledger is missing", false},
		{segment.ErrUnreachable, unavailable, "archive_unavailable", "Archived entries can not be read from this node", false},
		{segment.ErrAltered, unavailable, "integrity", "An archived segment is not what was recorded", false},
		{store.ErrUnavailable, unavailable, "storage_unavailable", "Storage is unavailable", false},
		{store.ErrClosed, unavailable, "storage_unavailable", "The node is shutting down", false},
		{store.ErrEpochChanged, unavailable, "storage_unavailable", "Authority changed meanwhile", false},
		{context.DeadlineExceeded, unavailable, "storage_unavailable", "The request took too long", false},
		{context.Canceled, unavailable, "storage_unavailable", "The request was given up", false},
		{store.ErrNotFound, http.StatusNotFound, "not_found", "Not found", false},
	}
}

// retryable codes are those that time alone may cure.
func retryable(code string) bool {
	switch code {
	case custodian.CodeKeystoreInactive, custodian.CodeKeystoreUnavailable, custodian.CodeBusy, "archive_unavailable", "storage_unavailable", "rate_limited":
		return true
	}
	return false
}

// retryAfter is how long callers are asked to wait before they repeat a retryable call (ours).
const retryAfter = time.Second

// problem answers an error.
func (x *exchange) problem(err error) {
	p := x.s.describe(err, x.who.Kind == identity.Human)
	p.Request = x.id
	h := x.c.Writer.Header()
	if p.Status == http.StatusUnauthorized {
		h["Www-Authenticate"] = []string{"Bearer", "Conclave"}
	}
	if p.Retryable {
		wait := retryAfter
		var refusal *auth.Refusal
		if errors.As(err, &refusal) && refusal.RetryAfter > 0 {
			wait = refusal.RetryAfter
		}
		var spent *ceremony.BudgetError
		if errors.As(err, &spent) {
			wait = spent.Wait
		}
		h["Retry-After"] = []string{strconv.Itoa(int(math.Ceil(wait.Seconds())))}
	}
	if p.Status == http.StatusRequestEntityTooLarge || errors.Is(err, errBody) {
		h["Connection"] = []string{"close"} // the rest of the body is not read
	}
	if p.Status >= http.StatusInternalServerError {
		x.s.log.Warn("request failed", "request", x.id, "route", x.c.FullPath(), "code", p.Code, "error", err)
	}
	body, err := json.Marshal(p)
	if err != nil {
		body = []byte(`{"type":"urn:conclave:problem:internal","title":"Internal error","status":500,"code":"internal","retryable":false}`)
		p.Status = http.StatusInternalServerError
	}
	_ = x.write(p.Status, typeProblem, body)
}

// describe maps an error to its problem. full: a person asked, who is told the reasons; so is everybody in
// development mode.
func (s *server) describe(err error, full bool) api.Problem {
	full = full || s.dev
	var share *ceremony.ShareError
	refusedShare := errors.As(err, &share)
	if refusedShare { // what is wrong with the share says more than that it was denied
		err = share.Err
	}
	var part *ceremony.ComponentError
	if errors.As(err, &part) {
		return api.Problem{Type: problemType + part.Denied.Code, Title: "Component refused", Status: http.StatusBadRequest, Code: part.Denied.Code,
			Detail: part.Err.Error(), Decision: part.Denied.Decision}
	}
	p, known := describeTyped(err, full)
	if !known {
		p = s.describeSentinel(err, full)
	}
	if refusedShare {
		p.Decision = share.Denied.Decision
	}
	p.Type = problemType + p.Code
	p.Retryable = p.Retryable || retryable(p.Code)
	return p
}

// describeSentinel maps the errors that are known by identity; what nobody knows is internal.
func (s *server) describeSentinel(err error, full bool) api.Problem {
	for i := range s.sentinels {
		e := &s.sentinels[i]
		if !errors.Is(err, e.err) {
			continue
		}
		p := api.Problem{Status: e.status, Code: e.code, Title: e.title}
		if e.show && full {
			p.Detail = clean(err.Error())
		}
		return p
	}
	return api.Problem{Status: http.StatusInternalServerError, Code: "internal", Title: "Internal error"}
}

// describeTyped maps the errors that carry facts.
func describeTyped(err error, full bool) (api.Problem, bool) {
	var (
		denied     *custodian.Denied
		input      *custodian.InputError
		refusal    *auth.Refusal
		tampered   *store.TamperedError
		ineligible *ceremony.IneligibleError
		field      *key.FieldError
		transition *key.TransitionError
		failed     *ceremony.FailedError
		spent      *ceremony.BudgetError
		gone       *ledger.DeletedError
	)
	switch {
	case errors.As(err, &denied):
		return describeDenied(denied, full), true
	case errors.As(err, &input):
		return invalidField(input.Field, input.Problem, input.Allowed), true
	case errors.As(err, &gone):
		return api.Problem{Status: http.StatusGone, Code: api.CodeEntriesDeleted, Title: "Entries were deleted under retention",
			Detail: clean(gone.Error()), Deleted: &api.DeletedEntries{From: gone.From, To: gone.To, Ceremony: gone.By}}, true
	case errors.As(err, &field):
		return invalidField(field.Field, field.Problem, field.Allowed), true
	case errors.As(err, &refusal):
		status := http.StatusUnauthorized
		if refusal.Code == auth.CodeRateLimited {
			status = http.StatusTooManyRequests
		}
		return api.Problem{Status: status, Code: refusal.Code, Title: "Not authenticated", Detail: clean(refusal.Detail)}, true
	case errors.As(err, &tampered):
		return api.Problem{Status: http.StatusServiceUnavailable, Code: "integrity", Title: "Record contradicts the ledger",
			Detail: "a record that this call depends on contradicts the ledger; an operator must restore it"}, true
	case errors.As(err, &ineligible):
		return api.Problem{Status: http.StatusForbidden, Code: ineligible.Code, Title: "Denied", Detail: clean(err.Error())}, true
	case errors.As(err, &spent):
		return api.Problem{Status: http.StatusTooManyRequests, Code: "rate_limited", Title: "Too many ceremonies", Detail: clean(spent.Error())}, true
	case errors.As(err, &transition):
		return api.Problem{Status: http.StatusConflict, Code: "conflict", Title: "Key state does not allow this", Detail: clean(err.Error())}, true
	case errors.As(err, &failed):
		p := api.Problem{Status: http.StatusConflict, Code: "conflict", Title: "Ceremony failed; nothing was changed"}
		if full {
			p.Detail = clean(err.Error())
		}
		return p, true
	}
	return api.Problem{}, false
}

func invalidField(field, problem, allowed string) api.Problem {
	return api.Problem{Status: http.StatusBadRequest, Code: "invalid_field", Title: "Invalid field",
		Field: clean(field), Detail: clean(field + ": " + problem), Allowed: allowed}
}

// describeDenied tells a decision: its code and id to everybody, its reasons where they may be shown.
func describeDenied(d *custodian.Denied, full bool) api.Problem {
	p := api.Problem{Status: http.StatusForbidden, Code: d.Code, Title: "Denied", Decision: d.Decision, Retryable: d.Retryable,
		Detail: "the request is denied; whoever owns the key can open the decision"}
	switch d.Code {
	case "":
		p.Code = "denied"
	case custodian.CodeKeystoreInactive:
		p.Status, p.Title = http.StatusServiceUnavailable, "Keystore is inactive"
	case "integrity":
		p.Status, p.Title = http.StatusServiceUnavailable, "Record contradicts the ledger"
	}
	if full {
		p.Reasons = reasons(d.Reasons)
		if len(d.Reasons) > 0 {
			p.Detail = clean(d.Reasons[0].Message)
		}
	}
	return p
}

func reasons(in []policies.Reason) []api.Reason {
	out := make([]api.Reason, len(in))
	for i, r := range in {
		out[i] = api.Reason{Code: r.Code, Message: r.Message, Remedy: r.Remedy, Controls: r.Controls, Rule: r.Rule}
	}
	return out
}

// clean makes text that may repeat a caller's words fit for showing.
func clean(s string) string {
	const most = 512
	return ledger.CleanText(s[:min(len(s), most)])
}
