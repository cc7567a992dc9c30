package conclave.rules.authorise.usage_test

import data.conclave.lib.fixtures
import data.conclave.rules.authorise.usage

signing := object.union(fixtures.protect, {"operation": "sign", "key": {"type": "private-signature"}})

test_fits if {
	{r.code | some r in usage.deny} == set() with input as fixtures.protect
	{r.code | some r in usage.deny} == set() with input as signing
}

test_encryption_key_signs_nothing if {
	{r.code | some r in usage.deny} == {"usage_mismatch"} with input as object.union(fixtures.protect, {"operation": "sign"})
}

test_signature_key_decrypts_nothing if {
	{r.code | some r in usage.deny} == {"usage_mismatch"} with input as object.union(signing, {"operation": "decrypt"})
}

test_unknown_type if {
	{r.code | some r in usage.deny} == {"usage_mismatch"} with input as object.union(fixtures.protect, {"key": {"type": "x"}})
}

test_no_key if {
	{r.code | some r in usage.deny} == set() with input as fixtures.human
}
