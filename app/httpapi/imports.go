package httpapi

import (
	"net/http"

	"conclave/app/api"
	"conclave/custodian"
	"conclave/custodian/key"
	"conclave/custodian/store"
)

// importOf shows how a version came in that was made elsewhere; nil for a generated one.
func importOf(i *key.Import) *api.Import {
	if i == nil {
		return nil
	}
	out := &api.Import{By: i.By, Ceremony: i.Ceremony, Inside: i.Inside, WrappingKey: i.WrappingKey, TransportBits: i.TransportBits,
		ConfirmedBy: i.ConfirmedBy, ConfirmedAt: i.ConfirmedAt, ConfirmedIn: i.ConfirmedIn}
	for _, c := range i.Components {
		out.Components = append(out.Components, api.ImportComponent{Custodian: c.Custodian, CheckValue: c.CheckValue})
	}
	return out
}

func (s *server) listWrappingKeys(x *exchange) error {
	if err := x.authoriseRegisters("wrapping_key", ""); err != nil {
		return err
	}
	return page(x, custodian.KindWrappingKey, func(_ *store.View, w *key.WrappingKey) (api.WrappingKey, bool) {
		return api.WrappingKey{ID: w.ID, Keystore: w.Keystore, Algorithm: string(w.Spec), StrengthBits: w.StrengthBits, CheckValue: w.CheckValue,
			Status: w.Status, CreatedAt: w.CreatedAt, CreatedBy: w.CreatedBy, Ceremony: w.Ceremony, ExpiresAt: w.ExpiresAt, UsedBy: w.UsedBy,
			EndedAt: w.EndedAt, DestroyedAt: w.DestroyedAt}, true
	})
}

// wrappingKeyFile states the public half of an open wrapping key for the machine that prepares a key.
func (s *server) wrappingKeyFile(x *exchange) error {
	id := x.c.Param("id")
	if err := x.authoriseRegisters("wrapping_key", id); err != nil {
		return err
	}
	envelope, err := s.engine.WrappingKey(id)
	if err != nil {
		return err
	}
	return x.json(http.StatusOK, api.WrappingKeyFile{Envelope: envelope})
}
