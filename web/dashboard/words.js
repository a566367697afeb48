// The texts of the dashboard, in both languages.

export const LANGUAGES = ['en', 'zh'];
const LABELS = { en: 'EN', zh: '中文' };
const TAGS = { en: 'en', zh: 'zh-Hans' };

/** `{name}` is a placeholder. */
export const WORDS = {
  'findings': ['Findings', '问题'],
  'totals': ['Totals', '总览'],
  'plots': ['Plots', '曲线'],
  'gateways': ['Gateways', '网关'],
  'workers': ['Workers', '业务进程'],
  'clients': ['Clients', '客户端'],
  'field': ['Field', '字段'],
  'value': ['Value', '值'],
  'group': ['group', '分组'],
  'client-id': ['client id', '客户端 id'],
  'worker': ['worker', '业务进程'],
  'slow': ['slow', '慢客户端'],
  'all': ['all', '全部'],
  'find': ['find', '查找'],
  'more': ['more', '更多'],
  'open': ['open', '打开'],
  'close': ['close', '关闭'],
  'last': ['last', '最近'],
  'token': ['Token', '令牌'],
  'token-how': [
    'The command that has started this page has printed its address with a token.',
    '启动本页面的命令打印了带令牌的地址。',
  ],
  'loading': ['connecting…', '正在连接…'],
  'unreachable': ['the dashboard does not answer: {why}', '仪表盘没有回应：{why}'],
  'fine': ['nothing is wrong', '一切正常'],
  'counts': ['{gateways} gateways, {workers} workers, {clients} clients', '{gateways} 个网关，{workers} 个业务进程，{clients} 个客户端'],
  'found': ['{n} shown', '显示 {n} 个'],
  'none': ['none', '无'],
  'next': ['next: ', '下一步：'],

  'tile-clients': ['clients', '客户端'],
  'tile-in': ['messages/s in', '消息/秒 收'],
  'tile-out': ['messages/s out', '消息/秒 发'],
  'tile-queue': ['queued', '发送队列'],
  'tile-slow': ['slow clients', '慢客户端'],
  'tile-flight': ['in flight', '处理中'],
  'tile-memory': ['memory', '内存'],
  'tile-answer': ['answer time', '应答时间'],

  'plot-clients': ['clients', '客户端'],
  'plot-messages': ['messages a second', '每秒消息'],
  'plot-bytes': ['bytes a second', '每秒字节'],
  'plot-queue': ['bytes queued for clients', '发送队列字节'],
  'plot-slow': ['slow and paused clients', '慢客户端和暂停读取的客户端'],
  'plot-flight': ['bytes of events in flight', '处理中的事件字节'],
  'plot-closed': ['closed clients a second, by reason', '每秒关闭的客户端（按原因）'],
  'plot-answer': ['time of an answer, ms', '网关应答时间（毫秒）'],
  'slowest': ['slowest gateway', '最慢的网关'],
  'links': ['links', '连接的网关'],
  'in': ['in', '收'],
  'out': ['out', '发'],
  'paused': ['paused', '暂停'],
  'dropped': ['dropped', '丢弃'],

  'address': ['address', '地址'],
  'state': ['state', '状态'],
  'uptime': ['uptime', '运行时间'],
  'version': ['version', '版本'],
  'in-s': ['in/s', '收/秒'],
  'out-s': ['out/s', '发/秒'],
  'queued': ['queued', '队列'],
  'memory': ['memory', '内存'],
  'files': ['files', '文件描述符'],
  'linked': ['linked', '连接时间'],
  'in-flight': ['in flight', '处理中'],
  'stalled': ['stalled', '停顿'],
  'uid': ['uid', 'uid'],
  'groups': ['groups', '分组'],
  'remote': ['remote', '远端地址'],
  'age': ['age', '时长'],
  'gateway': ['gateway', '网关'],
  'listener': ['listener', '监听'],
  'events': ['events', '事件'],
  'silent': ['silent', '静默'],
  'session': ['session', '会话'],
  'timeline': ['timeline', '时间线'],
  'ready': ['ready', '就绪'],
  'not-ready': ['not ready', '未就绪'],
  'drains': ['drains', '正在退出'],
  'no-answer': ['no answer', '无应答'],
  'gone': ['this client is not connected', '该客户端不在线'],
  'kick': ['close this client', '断开该客户端'],
  'kick-sure': ['Close the connection of this client with code {code}?', '以关闭码 {code} 断开该客户端？'],
  'kicked': ['closed', '已断开'],
  'not-kicked': ['it is not connected any more', '它已经不在线'],
  'code': ['code', '关闭码'],
  'reason': ['reason', '原因'],
  'unanswered': ['no answer: {gateways}', '无应答：{gateways}'],
};

let column = 0;

/** Selects a language; returns whether it exists. */
export function speak(name) {
  const index = LANGUAGES.indexOf(name);
  if (index < 0) return false;
  column = index;
  return true;
}

/** The language that the switch selects. */
export function other() {
  const name = LANGUAGES[(column + 1) % LANGUAGES.length];
  return { name, label: LABELS[name] };
}

/** A text with its values. */
export function t(key, values = {}) {
  const template = WORDS[key]?.[column] ?? key;
  return template.replace(/\{(\w+)\}/g, (_, name) => String(values[name] ?? ''));
}

/** Translates the texts of the page itself. */
export function localise(root) {
  root.documentElement.lang = TAGS[LANGUAGES[column]];
  for (const element of root.querySelectorAll('[data-t]')) element.textContent = t(element.dataset.t);
  for (const element of root.querySelectorAll('[data-t-label]')) element.setAttribute('aria-label', t(element.dataset.tLabel));
}
