// All texts of the page, in both languages.

export const LANGUAGES = [
  {
    name: 'en',
    tag: 'en',
    label: 'EN',
    guests: {
      first: ['quiet', 'brave', 'clever', 'early', 'gentle', 'lucky', 'merry', 'nimble', 'sunny', 'witty'],
      join: '-',
      second: ['otter', 'heron', 'lynx', 'maple', 'panda', 'robin', 'swift', 'tiger', 'whale', 'wren'],
    },
  },
  {
    name: 'zh',
    tag: 'zh-Hans',
    label: '中文',
    guests: {
      first: ['安静的', '勇敢的', '聪明的', '早起的', '温柔的', '幸运的', '快乐的', '灵巧的', '晴朗的', '机智的'],
      join: '',
      second: ['水獭', '苍鹭', '猞猁', '枫叶', '熊猫', '知更鸟', '雨燕', '老虎', '白鲸', '山雀'],
    },
  },
];

/** `{name}` is a placeholder. */
export const WORDS = {
  // The page around the conversation.
  'title': ['chat', '聊天'],
  'log-label': ['Conversation', '聊天记录'],
  'line-label': ['Message or command', '消息或命令'],
  'login-label': ['Your name', '你的名字'],
  'send-label': ['Send', '发送'],
  'send': ['send', '发送'],
  'help': ['help', '帮助'],
  'help-label': ['Show the commands', '显示命令'],
  'who-label': ['Show who is here', '显示在线的人'],
  'keys-label': ['Extra keys', '辅助按键'],
  'key-tab-label': ['Complete', '补全'],
  'key-up-label': ['Previous line', '上一条'],
  'key-down-label': ['Next line', '下一条'],
  'key-slash-label': ['Begin a command', '输入命令'],
  'here': ['{n} here', '{n} 人在线'],
  'new-messages': ['↓ {n} new', '↓ {n} 条新消息'],

  // The state of the connection.
  'state-idle': ['not connected', '未连接'],
  'state-connecting': ['connecting…', '正在连接…'],
  'state-online': ['online', '在线'],
  'state-waiting': ['reconnecting', '正在重连'],
  'state-waiting-in': ['reconnecting in {n} s', '{n} 秒后重连'],
  'state-closed': ['offline', '离线'],

  // The login.
  'welcome': ['Welcome. This is a chat on {host}.', '欢迎。这里是 {host} 上的聊天室。'],
  'how': [
    'Choose a name and press Enter; an empty line accepts the one in brackets.',
    '输入名字后按回车；直接回车则使用方括号中的名字。',
  ],
  'hint': [
    'Type to talk, {help} for the commands, Tab to complete a name.',
    '直接输入即可发言，{help} 查看命令，Tab 补全名字。',
  ],
  'login-prompt': ['login [{name}]:', '登录名 [{name}]:'],

  // Events.
  'you-are-in': ['you are {name} in {room}', '你以 {name} 的身份进入了 {room}'],
  'back-in': ['connected again: back in {room} as {name}', '已重新连接：以 {name} 的身份回到 {room}'],
  'people': ['{n} here: ', '{n} 人在线：'],
  'people-in': ['{n} in {room}: ', '{room} 有 {n} 人：'],
  'and-more': ['… and {n} more', '……等 {n} 人'],
  'you-mark': ['(you)', '（你）'],
  'joined': ['{name} joined', '{name} 加入了'],
  'left': ['{name} left', '{name} 离开了'],
  'renamed': ['{old} is now {name}', '{old} 改名为 {name}'],
  'renamed-you': ['you are now {name}', '你现在叫 {name}'],
  'renamed-later': ['you will be {name} when you connect', '连接后你将叫 {name}'],
  'private': ['[private]', '[私聊]'],
  'private-to-you': ['{name} → you', '{name} → 你'],
  'private-from-you': ['you → {name}', '你 → {name}'],
  'lost': ['connection lost; reconnecting', '连接已断开，正在重连'],
  'refused': ['cannot reach the server; trying again', '无法连接服务器，稍后重试'],
  'unconfirmed': ['not confirmed by the server: {text}', '服务器未确认：{text}'],
  'closed': [
    'connection closed; {connect} or Enter reconnects',
    '连接已关闭。输入 {connect} 或按回车重新连接。',
  ],
  'closed-by-server': [
    'the server has closed the connection: {why}; {connect} or Enter reconnects',
    '服务器关闭了连接：{why}。输入 {connect} 或按回车重新连接。',
  ],
  'close-1000': ['without a reason', '没有说明原因'],
  'close-kicked': ['you were removed from the room', '你被移出了房间'],
  'language': ['This page is now in English.', '本页面现在使用中文。'],

  // Invalid input.
  'not-online': ['not connected: the line was not sent', '未连接：这一行没有发送'],
  'already-online': ['already connected', '已经连接'],
  'name-first': ['choose a name first', '请先输入名字'],
  'name-empty': ['a name needs a visible character', '名字不能为空'],
  'name-too-long': ['a name has at most {n} characters', '名字最多 {n} 个字符'],
  'room-too-long': ['a room has at most {n} characters', '房间名最多 {n} 个字符'],
  'text-too-long': ['a message has at most {n} characters; this one has {length}', '消息最多 {n} 个字符；这条有 {length} 个'],
  'already-in': ['you are in {room} already', '你已经在 {room} 了'],
  'unknown-command': ['no such command: {command}. {help} lists them.', '没有这个命令：{command}。{help} 可查看全部命令。'],
  'did-you-mean': ['no such command: {command}. Did you mean {near}?', '没有这个命令：{command}。你是想输入 {near} 吗？'],
  'usage': ['usage: {usage}', '用法：{usage}'],
  'nobody-called': ['nobody here is called {name}', '这里没有叫 {name} 的人'],
  'several-called': ['several users are called {name}; choose one: ', '有多人叫 {name}，请指明：'],
  'that-is-you': ['that is you', '那是你自己'],
  'no-such-language': ['languages: en, zh', '可选语言：en、zh'],

  // Errors of the server.
  'error-name_too_long': ['the server refuses the name: at most {n} characters', '服务器拒绝了这个名字：最多 {n} 个字符'],
  'error-content_too_long': ['the server refuses the message: at most {n} characters', '服务器拒绝了这条消息：最多 {n} 个字符'],
  'error-not_logged_in': ['you are not logged in yet', '服务器还不知道你的名字'],
  'error-no_such_client': ['that user is no longer online', '对方已不在线'],
  'error-not_allowed': [
    'only the user who has been in the room longest may do that',
    '只有最早进入房间的人可以这样做',
  ],
  'error-bad_request': ['the server rejected the request as malformed', '服务器无法理解该请求'],
  'error-other': ['the server refuses: {text}', '服务器拒绝：{text}'],

  // Help.
  'help-title': ['Commands', '命令'],
  'help-join': ['go to another room', '进入另一个房间'],
  'help-nick': ['change your name', '更改名字'],
  'help-msg': ['send a private message', '与某人私聊'],
  'help-kick': ['remove someone from the room', '把某人移出房间'],
  'help-who': ['list the users in this room', '查看房间里的人'],
  'help-clear': ['clear the screen', '清空屏幕'],
  'help-lang': ['change the language', '切换语言'],
  'help-quit': ['disconnect', '断开连接'],
  'help-connect': ['reconnect', '重新连接'],
  'help-help': ['show this list', '显示本列表'],
  'arg-room': ['ROOM', '房间'],
  'arg-name': ['NAME', '名字'],
  'arg-name-text': ['NAME TEXT', '名字 内容'],
  'arg-lang': ['en|zh', 'en|zh'],
  'help-keys': ['Keys', '按键'],
  'key-tab': ['Tab', 'Tab'],
  'help-key-tab': ['complete a command or a name; again for the next', '补全命令或名字；再按切换'],
  'key-history': ['↑ ↓', '↑ ↓'],
  'help-key-history': ['previous lines', '输入历史'],
  'key-newline': ['Shift+Enter', 'Shift+Enter'],
  'help-key-newline': ['a line break', '换行'],
  'key-page': ['PgUp PgDn', 'PgUp PgDn'],
  'help-key-page': ['scroll', '滚动'],
  'key-escape': ['Esc Tab', 'Esc Tab'],
  'help-key-escape': ['leave the line for the buttons', '离开输入行，移到按钮'],
  'help-tap': ['Click or tap a name to start a private message. Start a line with // to send text that begins with /.', '点击名字可开始私聊。以 // 开头的行会以一个 / 发送。'],
};
