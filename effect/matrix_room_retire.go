package effect

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"
)

// MatrixRoomRetireConfig configures MatrixRoomRetire.
type MatrixRoomRetireConfig struct {
	Tenant
	Matrix
}

// Validate the configuration.
func (c MatrixRoomRetireConfig) Validate() error {
	return errors.Join(c.Tenant.Validate(), c.Matrix.Validate())
}

// MatrixRoomRetire renames the tenant's support room, puts its members out and
// takes its alias away, so that a later tenant of the same name gets a room of
// its own. The room's owner stays in it: an empty room is one that the
// homeserver may forget, conversations and all.
func MatrixRoomRetire(ctx context.Context, c MatrixRoomRetireConfig) error {
	hs, err := c.connect(ctx)
	if err != nil {
		return err
	}
	room, err := hs.find(ctx, c.alias())
	if err != nil {
		return err
	}
	if room == "" {
		slog.InfoContext(ctx, "There is no support room, or no longer", "alias", c.alias())
		return nil
	}

	name, err := hs.name(ctx, room)
	if err != nil {
		return err
	}
	if name != c.retiredName() {
		if err := hs.do(ctx, func(ctx context.Context) error {
			_, err := hs.client.SendStateEvent(ctx, room, event.StateRoomName, "", event.RoomNameEventContent{Name: c.retiredName()})
			return err
		}); err != nil {
			return fmt.Errorf("cannot rename room %s: %w", c.alias(), err)
		}
	}

	stayed, err := hs.putOut(ctx, room)
	if err != nil {
		return err
	}
	// Last, because it is by the alias that a second run finds what is left to do.
	if err := hs.dropAlias(ctx, c.alias()); err != nil {
		return err
	}
	if len(stayed) > 0 {
		// A second run would not find the room, and call this a success.
		return Terminal(fmt.Errorf("room %s (%s) is retired, but %s has not the power to put out %v: ask them to leave",
			room, c.retiredName(), hs.client.UserID, stayed))
	}
	slog.InfoContext(ctx, "Retired the support room", "alias", c.alias(), "room", room, "name", c.retiredName())
	return nil
}

// putOut everybody but the room's owner, and return those who can't be.
func (hs *homeserver) putOut(ctx context.Context, room id.RoomID) ([]id.UserID, error) {
	members, err := hs.members(ctx, room)
	if err != nil {
		return nil, err
	}
	var stayed []id.UserID
	for _, user := range slices.Sorted(maps.Keys(members)) {
		if user == hs.client.UserID || !present(members[user]) {
			continue
		}
		err := hs.do(ctx, func(ctx context.Context) error {
			_, err := hs.client.KickUser(ctx, room, &mautrix.ReqKickUser{UserID: user, Reason: "The workspace is gone."})
			return err
		})
		if err == nil {
			continue
		}
		var answer mautrix.HTTPError
		if !errors.As(err, &answer) || !answer.IsStatus(http.StatusForbidden) {
			return nil, fmt.Errorf("cannot remove %s from room %s: %w", user, room, err)
		}
		// Forbidden also when they left in the meantime.
		now, err := hs.membership(ctx, room, user)
		if err != nil {
			return nil, err
		}
		if present(now) {
			stayed = append(stayed, user)
		}
	}
	return stayed, nil
}

// present tells whether somebody is in a room, or has a way into it.
func present(m event.Membership) bool {
	return m == event.MembershipJoin || m == event.MembershipInvite || m == event.MembershipKnock
}
