package integration

import (
	"net/http"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// A token is replaced on disk while clients push: first both lines are valid, then only the new one. Nobody who
// follows the order is ever refused, and each change holds within ten seconds, on every door.
func TestTokenRotation(t *testing.T) {
	t.Parallel()
	const newToken = "client-token-next-55aa02"
	g, _, _ := newLoadGateway(t, "", 0)
	conn, err := grpc.NewClient("passthrough:///"+g.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()

	body := lokiProtobuf(t, lokiStreams()[1:2])
	taken := func(token string) bool {
		resp, answer := post(t, "http://"+g.http+"/loki/api/v1/push", body, map[string]string{
			"Content-Type": "application/x-protobuf", "Authorization": "Bearer " + token,
		})
		byHTTP := resp.StatusCode == http.StatusNoContent
		if !byHTTP && resp.StatusCode != http.StatusUnauthorized {
			t.Fatalf("answered %d %s, want 204 or 401", resp.StatusCode, answer)
		}
		code := status.Code(exportRaw(metadata.AppendToOutgoingContext(background(t), "authorization", "Bearer "+token), conn, otlpLog(t, "x")))
		if code != codes.OK && code != codes.Unauthenticated {
			t.Fatalf("gRPC answered %s, want OK or UNAUTHENTICATED", code)
		}
		byGRPC := code == codes.OK
		return byHTTP && byGRPC
	}
	if !taken(clientToken) || taken(newToken) {
		t.Fatal("before the rotation only the old token is valid")
	}

	g.writeSecret("client", "# rotated", clientToken, "", "  "+newToken)
	eventually(t, 10*time.Second, "the new token is taken", func() bool {
		if !taken(clientToken) {
			t.Fatal("the old token was refused while it is in the file")
		}
		return taken(newToken)
	})

	g.writeSecret("client", newToken)
	eventually(t, 10*time.Second, "the old token is refused", func() bool {
		if !taken(newToken) {
			t.Fatal("the new token was refused")
		}
		return !taken(clientToken)
	})

	// A file that cannot be used changes nothing.
	g.writeSecret("client", "# nothing but a comment")
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if !taken(newToken) {
			t.Fatal("an empty secret file took the last good token away")
		}
	}
	eventually(t, 10*time.Second, "gateway_secret_stale shows it", func() bool { return g.metric("gateway_secret_stale") > 0 })
	g.checkNoSecrets(newToken)
}
