package conclave.rules.authorise.payload_test

import data.conclave.lib.fixtures
import data.conclave.rules.authorise.payload

test_within if {
	{r.code | some r in payload.deny} == set() with input as fixtures.protect
}

test_limit if {
	{r.code | some r in payload.deny} == set() with input as object.union(fixtures.protect, {"operation": "encrypt", "payload_bytes": 65536})
}

test_above if {
	{r.code | some r in payload.deny} == {"payload_too_large"} with input as object.union(fixtures.protect, {"operation": "encrypt", "payload_bytes": 65537})
}

test_negative if {
	{r.code | some r in payload.deny} == {"payload_too_large"} with input as object.union(fixtures.protect, {"payload_bytes": -1})
}

test_unknown if {
	{r.code | some r in payload.deny} == {"payload_too_large"} with input as json.remove(fixtures.protect, ["payload_bytes"])
}

test_data_key if {
	{r.code | some r in payload.deny} == {"payload_too_large"} with input as object.union(fixtures.protect, {"payload_bytes": 65})
}

test_no_limit if {
	{r.code | some r in payload.deny} == {"payload_too_large"} with input as fixtures.protect with data.tables.authorisation.max_payload_bytes as {}
}
