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

test_compromised_under_an_approval if {
	every operation in ["decrypt", "rewrap"] {
		{r.code | some r in process_state.deny} == set() with input as object.union(fixtures.rewrap, {"operation": operation, "version": {"state": "compromised", "controlled_use": "u-1", "controlled_until": 2000001}})
	}
}

test_compromised_after_the_approval if {
	{r.code | some r in process_state.deny} == {"state_forbids_process"} with input as object.union(fixtures.process, {"version": {"state": "compromised", "controlled_use": "u-1", "controlled_until": 2000000}})
}

test_compromised_without_its_name if {
	{r.code | some r in process_state.deny} == {"state_forbids_process"} with input as object.union(fixtures.process, {"version": {"state": "compromised", "controlled_until": 3000000}})
}

test_destroyed_under_an_approval if {
	{r.code | some r in process_state.deny} == {"state_forbids_process"} with input as object.union(fixtures.process, {"version": {"state": "destroyed", "controlled_use": "u-1", "controlled_until": 3000000}})
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
