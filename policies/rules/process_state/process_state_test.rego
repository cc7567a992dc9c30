package conclave.rules.authorise.process_state_test

import data.conclave.lib.fixtures
import data.conclave.rules.authorise.process_state

test_active if {
	{r.code | some r in process_state.deny} == set() with input as object.union(fixtures.process, {"version": {"state": "active"}})
}

test_suspended if {
	{r.code | some r in process_state.deny} == set() with input as object.union(fixtures.process, {"version": {"state": "suspended"}})
}

test_deactivated if {
	{r.code | some r in process_state.deny} == set() with input as object.union(fixtures.process, {"version": {"state": "deactivated"}})
}

test_pre_activation if {
	{r.code | some r in process_state.deny} == {"state_forbids_process"} with input as object.union(fixtures.process, {"version": {"state": "pre-activation"}})
}

test_compromised if {
	{r.code | some r in process_state.deny} == {"state_forbids_process"} with input as object.union(fixtures.process, {"version": {"state": "compromised"}})
}

test_destroyed if {
	{r.code | some r in process_state.deny} == {"state_forbids_process"} with input as object.union(fixtures.process, {"version": {"state": "destroyed"}})
}

test_missing if {
	{r.code | some r in process_state.deny} == {"state_forbids_process"} with input as json.remove(fixtures.process, ["version"])
}

test_protect_only if {
	{r.code | some r in process_state.deny} == set() with input as object.union(fixtures.protect, {"version": {"state": "destroyed"}})
}
