# METADATA
# title: Placing
# description: What a key needs and what a keystore offers, for the placement rules.
package conclave.lib.placing

# METADATA
# description: The row of the key's classification. Undefined when it is unknown.
class := data.tables.classifications[input.key.classification]

# METADATA
# description: Custody models the class accepts; none when it is unknown.
default custody := []

custody := class.custody

# METADATA
# description: Where the class lets key material be made, and how it comes in; nowhere when it is unknown.
default origins := []

origins := class.origins

levels contains class.least_level[input.key.impact]

levels contains data.tables.frameworks[name].least_level if some name in input.key.frameworks

# METADATA
# description: FIPS level the key needs. The highest there is when class or impact are unknown.
default least_level := 4

least_level := max(levels) if class.least_level[input.key.impact]

# METADATA
# description: The key needs a module with a certificate in force. So does a key of unknown class.
validated if not class

validated if class.validated

validated if {
	some name in input.key.frameworks
	data.tables.frameworks[name].validated
}

about_key(exception) if not exception.key

about_key(exception) if exception.key == input.key.id

about_keystore(exception, _) if not exception.keystore

about_keystore(exception, store) if exception.keystore == store.id

# METADATA
# description: Accepted risks in force that lift a rule for this key in this keystore. Only rules of the table let one be.
accepted(rule, store) := {id |
	data.tables.exceptions.rules[rule]
	some id, exception in input.exceptions
	exception.rule == rule
	input.now < exception.expires_at
	about_key(exception)
	about_keystore(exception, store)
}

# METADATA
# description: The end of its certificate does not count against the keystore, for this key. A revoked one always does.
outlives(_) if input.existing == true

outlives(store) if count(accepted("place.module_validated", store)) > 0

# METADATA
# description: New keys may be placed under the keystore's standard. Existing keys outlive the standard's end.
current(store) if data.tables.modules.standards[store.fips_standard] == {}

current(store) if {
	data.tables.modules.standards[store.fips_standard]
	outlives(store)
}

current(store) if input.now * 1000 < time.parse_rfc3339_ns(data.tables.modules.standards[store.fips_standard].historical_from)

in_force(store) if store.certificate_status == data.tables.modules.certificate_status

in_force(store) if {
	store.certificate_status == "historical"
	outlives(store)
}

# METADATA
# description: What the record claims is true of a real device. A simulator's claims count while developing, and nowhere else.
genuine(store) if store.simulated == false

genuine(_) if input.mode == "development"

# METADATA
# description: The module's validation counts, for this key and now.
counts(store) if {
	store.certificate
	genuine(store)
	in_force(store)
	current(store)
}

# METADATA
# description: The FIPS level that counts. A claim without a certificate counts for nothing.
effective_level(store) := store.fips_level if {
	counts(store)
} else := 0
