package witness

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"conclave/custodian/clock"
	"conclave/custodian/ledger"
)

// Command is `conclave witness`.
func Command() *cobra.Command {
	var trust, key, dir, listen, cert, certKey string
	c := &cobra.Command{
		Use: "witness", Short: "Witness a ledger on a machine of your own: sign only what continues what was seen", Args: cobra.NoArgs,
		Long: "Serves C2SP tlog-witness: a service whose witness file names this machine submits its checkpoints here. The\n" +
			"witness remembers the highest that it saw and signs a newer one only with a proof that it continues that one.\n" +
			"A fork or an older ledger is refused, and the checkpoint that proves it is kept. Run it where whoever runs the\n" +
			"service has no access.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			pinned, err := ledger.LoadTrustFile(trust)
			if err != nil {
				return err
			}
			witness, err := ledger.LoadWitness(key)
			if err != nil {
				return err
			}
			if err := os.MkdirAll(dir, 0o700); err != nil {
				return err
			}
			log := slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil))
			s, err := New(pinned, witness, dir, clock.NewSystem(), log)
			if err != nil {
				return err
			}
			return s.serve(cmd.Context(), listen, cert, certKey)
		},
	}
	f := c.Flags()
	f.StringVar(&trust, "trust", "", "trust file of the instance")
	f.StringVar(&key, "key", "witness.key", "key file that conclave witness init made")
	f.StringVar(&dir, "state-dir", "witness", "directory that keeps what was seen")
	f.StringVar(&listen, "listen", "127.0.0.1:9843", "address to serve on")
	f.StringVar(&cert, "tls-cert", "", "PEM file with a certificate; without one the server speaks plain HTTP, on loopback only")
	f.StringVar(&certKey, "tls-key", "", "PEM file with its private key")
	_ = c.MarkFlagRequired("trust") // the flag is there
	c.AddCommand(initCommand())
	return c
}

func initCommand() *cobra.Command {
	var key, name string
	c := &cobra.Command{
		Use: "init", Short: "Make a witness's key and print its verifier key", Args: cobra.NoArgs,
		Long: "Makes an Ed25519 key for cosignatures, which never leaves this machine, and prints the verifier key: for the\n" +
			"service's witness file, and for witness_keys of the trust files of those who verify.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			path, err := filepath.Abs(key)
			if err != nil {
				return err
			}
			w, err := ledger.GenerateWitness(path, name)
			if err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), w.Key)
			return nil
		},
	}
	c.Flags().StringVar(&key, "key", "witness.key", "file to write; must not exist")
	c.Flags().StringVar(&name, "name", "", "the witness's name, as witness.example/audit")
	_ = c.MarkFlagRequired("name") // the flag is there
	return c
}

// errPlain: a witness over plain HTTP is for this machine only.
var errPlain = errors.New("without --tls-cert and --tls-key the witness listens on loopback only")

func (s *Server) serve(ctx context.Context, listen, cert, key string) error {
	secure := cert != "" || key != ""
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return err
	}
	if ip := net.ParseIP(host); !secure && (ip == nil || !ip.IsLoopback()) {
		return errPlain
	}
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: s.Handler(), ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, MaxHeaderBytes: 16 << 10}
	stop := context.AfterFunc(ctx, func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_ = server.Shutdown(closing) // what is left is ended with the process
	})
	defer stop()
	s.log.Info("witnessing", "log", s.trust.Origin, "address", l.Addr().String(), "key", s.witness.Key.String())
	if secure {
		err = server.ServeTLS(l, cert, key)
	} else {
		err = server.Serve(l)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}
