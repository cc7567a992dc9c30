package conclave.rules.authorise.direct_encryption_test

import data.conclave.lib.fixtures
import data.conclave.rules.authorise.direct_encryption

test_data_key if {
	{r.code | some r in direct_encryption.deny} == set() with input as fixtures.protect
}

test_data_encryption if {
	{r.code | some r in direct_encryption.deny} == set() with input as object.union(fixtures.protect, {"operation": "encrypt"})
}

test_key_wrapping if {
	{r.code | some r in direct_encryption.deny} == {"direct_encryption_off"} with input as object.union(fixtures.protect, {"operation": "encrypt", "key": {"type": "symmetric-key-wrapping"}})
}

test_key_wrapping_data_key if {
	{r.code | some r in direct_encryption.deny} == set() with input as object.union(fixtures.protect, {"key": {"type": "symmetric-key-wrapping"}})
}

test_unknown_type if {
	{r.code | some r in direct_encryption.deny} == {"direct_encryption_off"} with input as json.remove(object.union(fixtures.protect, {"operation": "encrypt"}), ["key/type"])
}
