package conclave.rules.place.module_validated_test

import data.conclave.lib.fixtures
import data.conclave.rules.place.module_validated

test_active if {
	{r.reason.code | some r in module_validated.deny} == set() with input as fixtures.placement
}

test_revoked if {
	{r.reason.code | some r in module_validated.deny} == {"module_not_validated"} with input as object.union(fixtures.placement, fixtures.store({"certificate_status": "revoked"}))
}

test_unknown_standard if {
	{r.reason.code | some r in module_validated.deny} == {"module_not_validated"} with input as object.union(fixtures.placement, fixtures.store({"fips_standard": "140-1"}))
}

test_standard_2_before if {
	{r.reason.code | some r in module_validated.deny} == set() with input as object.union(object.union(fixtures.placement, fixtures.store({"fips_standard": "140-2"})), {"now": fixtures.before_2026_09_22})
}

test_standard_2_after if {
	{r.reason.code | some r in module_validated.deny} == {"module_not_validated"} with input as object.union(object.union(fixtures.placement, fixtures.store({"fips_standard": "140-2"})), {"now": fixtures.after_2026_09_22})
}

test_existing_key_stays if {
	{r.reason.code | some r in module_validated.deny} == set() with input as object.union(object.union(fixtures.placement, fixtures.store({"fips_standard": "140-2", "certificate_status": "historical"})), {"now": fixtures.after_2026_09_22, "existing": true})
}

test_existing_key_revoked if {
	{r.reason.code | some r in module_validated.deny} == {"module_not_validated"} with input as object.union(object.union(fixtures.placement, fixtures.store({"fips_standard": "140-2", "certificate_status": "revoked"})), {"now": fixtures.after_2026_09_22, "existing": true})
}

test_confidential_by_class if {
	{r.reason.code | some r in module_validated.deny} == {"certificate_ended"} with input as object.union(object.union(fixtures.placement, {"key": {"classification": "confidential", "frameworks": []}}), fixtures.store({"certificate_status": "revoked"}))
}

test_unknown_class if {
	{r.reason.code | some r in module_validated.deny} == {"module_not_validated"} with input as object.union(object.union(fixtures.placement, {"key": {"classification": "secret", "frameworks": []}}), fixtures.store({"certificate_status": "revoked"}))
}

test_framework_asks if {
	{r.reason.code | some r in module_validated.deny} == {"module_not_validated"} with input as object.union(object.union(fixtures.placement, {"key": {"classification": "confidential"}}), fixtures.store({"certificate_status": "revoked"}))
}

historical := object.union(object.union(fixtures.placement, fixtures.store({"fips_standard": "140-2", "certificate_status": "historical"})), {"now": fixtures.after_2026_09_22})

test_historical_is_accepted if {
	{r.reason.code | some r in module_validated.deny} == {"module_not_validated"} with input as historical
	{r.reason.code | some r in module_validated.deny} == set() with input as object.union(historical, fixtures.exception("place.module_validated", {"keystore": "main"}))
	{r.reason.code | some r in module_validated.deny} == {"module_not_validated"} with input as object.union(historical, fixtures.exception("place.module_validated", {"keystore": "spare"}))
	{r.reason.code | some r in module_validated.deny} == {"module_not_validated"} with input as object.union(historical, fixtures.exception("place.module_validated", {"keystore": "main", "expires_at": fixtures.after_2026_09_22}))
}

test_revoked_is_never_accepted if {
	{r.reason.code | some r in module_validated.deny} == {"module_not_validated"} with input as object.union(object.union(historical, fixtures.store({"certificate_status": "revoked"})), fixtures.exception("place.module_validated", {"keystore": "main"}))
}

lower := object.union(historical, {"key": {"classification": "public", "frameworks": []}})

test_no_new_key_of_any_class if {
	{r.reason.code | some r in module_validated.deny} == {"certificate_ended"} with input as lower
	{r.reason.code | some r in module_validated.deny} == set() with input as object.union(lower, {"existing": true})
	{r.reason.code | some r in module_validated.deny} == set() with input as object.union(lower, fixtures.exception("place.module_validated", {"key": "cards"}))
	{r.reason.code | some r in module_validated.deny} == set() with input as json.remove(lower, ["keystores/main/certificate"])
}

simulated := object.union(fixtures.placement, fixtures.store({"simulated": true}))

test_a_simulator_counts_while_developing if {
	{r.reason.code | some r in module_validated.deny} == {"module_not_validated"} with input as simulated
	{r.reason.code | some r in module_validated.deny} == set() with input as object.union(simulated, {"mode": "development"})
}
