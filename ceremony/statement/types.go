package statement

// Payload types that people and nodes sign in this service, beside the evidence manifest of reports/bundle. They are
// part of what is signed, so that a signature made for one purpose is worth nothing for another.
const (
	TypeStatement       = "application/vnd.conclave.statement+json"
	TypeRequest         = "application/vnd.conclave.request+json"
	TypeAcknowledgement = "application/vnd.conclave.acknowledgement+json" // people.Terms
	TypeJoining         = "application/vnd.conclave.joining+json"         // people.Joining, by the invited
	TypeGenesis         = "application/vnd.conclave.genesis+json"
	TypeCollector       = "application/vnd.conclave.collector+json"    // by a node
	TypeDestruction     = "application/vnd.conclave.destruction+json"  // operation.Destruction
	TypeTranscript      = "application/vnd.conclave.transcript+json"   // by a node
	TypeWrappingKey     = "application/vnd.conclave.wrapping-key+json" // importfile.WrappingKey, by a node
	TypeSignOff         = "application/vnd.conclave.sign-off+json"     // script.Opinion
	TypeEnrolment       = "application/vnd.conclave.enrolment+json"    // nodes.Request, by a node that is to be
	TypeJoin            = "application/vnd.conclave.join+json"         // nodes.Join, by an enrolled node
	TypeWelcome         = "application/vnd.conclave.welcome+json"      // nodes.Welcome, by a serving node
	TypeNodes           = "application/vnd.conclave.nodes+json"        // nodes.List, by a serving node
)
