package httpapi

import (
	"encoding/json"
	"fmt"
	"net/http"

	"conclave/app/api"
	"conclave/custodian"
	"conclave/custodian/key"
	"conclave/custodian/store"
	"conclave/hsm/keypair"
)

// publicKeys shows the public halves of a pair's versions, all of them: a signature names none, and verifies as long
// as the public half that made it does.
func (s *server) publicKeys(x *exchange) error {
	view, k, err := x.findKey()
	if err != nil {
		return err
	}
	spec := k.Specification()
	if !spec.Pair() {
		return &custodian.InputError{Field: "key", Problem: fmt.Sprintf("%s is of algorithm %s, which has no public half", k.ID, spec), Allowed: "a key that is a pair"}
	}
	out := api.PublicKeys{Key: k.ID, Algorithm: string(spec), Use: string(spec.Kind()), Items: []api.PublicKey{}}
	for n := uint32(1); n <= k.Versions; n++ {
		v, _, err := store.Get[key.Version](view, custodian.KindKeyVersion, key.VersionID(k.ID, n))
		if err != nil {
			return fmt.Errorf("reading version %d: %w", n, err)
		}
		item, err := publicKeyOf(v)
		if err != nil {
			return fmt.Errorf("reading version %d: %w", n, err)
		}
		out.Items = append(out.Items, item)
	}
	return x.json(http.StatusOK, out)
}

func publicKeyOf(v *key.Version) (api.PublicKey, error) {
	public, err := keypair.ParsePublic(v.Specification(), v.Public)
	if err != nil {
		return api.PublicKey{}, err
	}
	jwk, err := json.Marshal(public.JWK())
	if err != nil {
		return api.PublicKey{}, fmt.Errorf("encoding a JWK: %w", err)
	}
	return api.PublicKey{Version: v.Version, State: string(v.PublicState()), CheckValue: v.CheckValue, ActivationAt: v.ActivationAt,
		OUPEnd: v.OUPEnd, RUPEnd: v.RUPEnd, PEM: public.PEM(), JWK: jwk}, nil
}
