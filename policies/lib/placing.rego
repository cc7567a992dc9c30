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

# METADATA
# description: New keys may be placed under this standard. Existing keys outlive the standard's end.
current(standard) if data.tables.modules.standards[standard] == {}

current(standard) if {
	data.tables.modules.standards[standard]
	input.existing == true
}

current(standard) if input.now * 1000 < time.parse_rfc3339_ns(data.tables.modules.standards[standard].historical_from)

in_force(store) if store.certificate_status == data.tables.modules.certificate_status

in_force(store) if {
	input.existing == true
	store.certificate_status == "historical"
}

# METADATA
# description: The module's validation counts, for this key and now.
counts(store) if {
	store.certificate
	store.simulated == false
	in_force(store)
	current(store.fips_standard)
}

# METADATA
# description: The FIPS level that counts. A claim without a certificate counts for nothing.
effective_level(store) := store.fips_level if {
	counts(store)
} else := 0
