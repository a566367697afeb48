// The members of a presence channel.

export class Members {
  // Without a prototype: ids are chosen by users.
  members = Object.create(null);
  count = 0;
  myID = null;
  me = null;

  /** The member with an id, `{ id, info }`, or null. */
  get(id) {
    return Object.hasOwn(this.members, id) ? { id, info: this.members[id] } : null;
  }

  each(handle) {
    for (const id of Object.keys(this.members)) handle(this.get(id));
  }

  /** Takes the list of a new subscription. */
  reset({ presence } = {}, myID) {
    this.members = Object.assign(Object.create(null), presence?.hash);
    this.count = presence?.count ?? 0;
    this.myID = myID;
    this.me = this.get(myID);
  }

  add({ user_id, user_info }) {
    if (!this.get(user_id)) this.count += 1;
    this.members[user_id] = user_info;
    return this.get(user_id);
  }

  remove({ user_id }) {
    const member = this.get(user_id);
    if (!member) return null;
    delete this.members[user_id];
    this.count -= 1;
    return member;
  }
}
