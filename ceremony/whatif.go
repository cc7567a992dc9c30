package ceremony

import (
	"context"

	"conclave/ceremony/operation"
	"conclave/ceremony/placement"
	"conclave/custodian/identity"
)

// WhatIf says which keys would stand otherwise after a change that somebody wonders about. Nothing is changed. Errors
// are those of proposing it: *custodian.InputError, *key.FieldError.
func (e *Engine) WhatIf(ctx context.Context, p identity.Principal, s operation.Supposition) ([]placement.Change, error) {
	view := e.store.View()
	in := operation.Input{Requester: p, Now: e.clock.Now(), Instance: e.door.Instance(), Reason: "what if"}
	for _, params := range []*[]byte{&s.Keystore, &s.Key} {
		if len(*params) == 0 {
			continue
		}
		canonical, err := canonicalParams(*params)
		if err != nil {
			return nil, err
		}
		*params = canonical
	}
	return operation.WhatIf(ctx, e.environment(view), view, in, s)
}
