package conclave.rules.authorise.protect_state_test

import data.conclave.lib.fixtures
import data.conclave.rules.authorise.protect_state

test_active if {
	{r.code | some r in protect_state.deny} == set() with input as fixtures.protect
}

test_pre_activation if {
	{r.code | some r in protect_state.deny} == {"state_forbids_protect"} with input as object.union(fixtures.protect, {"version": {"state": "pre-activation"}})
}

test_suspended if {
	{r.code | some r in protect_state.deny} == {"state_forbids_protect"} with input as object.union(fixtures.protect, {"version": {"state": "suspended"}})
}

test_deactivated if {
	{r.code | some r in protect_state.deny} == {"state_forbids_protect"} with input as object.union(fixtures.protect, {"version": {"state": "deactivated"}})
}

test_compromised if {
	{r.code | some r in protect_state.deny} == {"state_forbids_protect"} with input as object.union(fixtures.protect, {"version": {"state": "compromised"}})
}

test_destroyed if {
	{r.code | some r in protect_state.deny} == {"state_forbids_protect"} with input as object.union(fixtures.protect, {"version": {"state": "destroyed"}})
}

test_missing if {
	{r.code | some r in protect_state.deny} == {"state_forbids_protect"} with input as json.remove(fixtures.protect, ["version"])
}

test_rewrap_from_deactivated if {
	{r.code | some r in protect_state.deny} == set() with input as object.union(fixtures.rewrap, {"version": {"state": "deactivated"}})
}

test_rewrap_onto_deactivated if {
	{r.code | some r in protect_state.deny} == {"state_forbids_protect"} with input as object.union(fixtures.rewrap, {"onto": {"state": "deactivated"}})
}

test_rewrap_onto_nothing if {
	{r.code | some r in protect_state.deny} == {"state_forbids_protect"} with input as json.remove(fixtures.rewrap, ["onto"])
}

test_process_only if {
	{r.code | some r in protect_state.deny} == set() with input as object.union(fixtures.process, {"version": {"state": "deactivated"}})
}
