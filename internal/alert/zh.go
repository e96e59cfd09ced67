package alert

// example is an annotation that is right, to copy.
const example = `{"key":"name","even":"node1","odd":"node2"}`

// formExamples are examples of the other forms.
var formExamples = map[string]string{
	"values":   `{"key":"zone","values":["a","b","c"]}`,
	"ordinals": `{"key":"zone","ordinals":{"0":"a","1-2":"b"},"default":"c"}`,
	"value":    `{"key":"name","value":"node-$(ordinal)","start":1}`,
}

const (
	applyCommand  = "kubectl apply -f manifests/"
	gatedCommand  = "kubectl get pods -A -l ab-build-different=true --field-selector spec.nodeName=,status.phase=Pending"
	bundleCommand = "kubectl get mutatingwebhookconfiguration sts-mutating-webhook --show-managed-fields -o yaml"
)

// chinese is the language zh.
var chinese = phrases{
	colon: "：", comma: "，", listComma: "、",
	impact: "影响", cause: "原因", action: "处理", now: "现在", since: "（{time} 起）",
	times: "（{count} 次）", repeats: "（此前又发生 {count} 次）", lasted: "（持续 {lasted}）",
	follow: "另有 {count} 条见后续消息", lost: "本副本即将停止，另有 {count} 条未能发送", dropped: "数量过多，已丢弃 {count} 条",
	none: "无", unknown: "未知程序",
	denied: "拒绝创建 Pod：{set}", deniedMany: "拒绝创建 Pod：{set} 等 {count} 处",
	deniedImpact: "这些 Pod 暂未创建，改正后控制器会自动重试；已运行的 Pod 不受影响",
	ahead:        "偏快", behind: "偏慢",
	recovered: "已恢复：{set}", recoveredAll: "已恢复：{set} 等 {count} 个 StatefulSet",
	placed:     "已设置 nodeSelector：{count} 个 Pod",
	test:       "测试消息",
	testSigned: "收到本消息，说明机器人地址正确。本次调用已加签。",
	testPlain:  "收到本消息，说明机器人地址正确。本次调用未加签。",
	replica:    "副本 {replica}",
	even:       "偶数 {range}", odd: "奇数 {range}", step: "{range}（步长 {step}）",
	and: " ", day: "{n} 天", hour: "{n} 小时", minute: "{n} 分钟", sec: "{n} 秒",

	causes: map[string]string{
		"configuration_missing": "没有指向本服务的 webhook 配置",
		"bundle_unverified":     "caBundle 与本服务的证书不匹配，可能被其他程序改写",
		"deleted":               "被删除",
		"emptied":               "被清空",
		"damaged":               "内容损坏",
		"replaced":              "被换成其他内容",
		"bundle_emptied":        "caBundle 被清空",
		"bundle_damaged":        "caBundle 内容损坏",
		"bundle_replaced":       "caBundle 被换成其他内容",
	},
	codes: map[string]string{
		"NotJSON":        "注解 custom-node-selector 不是合法的 JSON：从第 {value} 个字节起有语法错误（请检查是否混入中文标点）",
		"NotObject":      "注解 custom-node-selector 不是 JSON 对象",
		"FieldUnknown":   "注解 custom-node-selector 含未知字段 {field}",
		"FieldMissing":   "注解 custom-node-selector 缺少字段 {field}",
		"FieldRepeated":  "注解 custom-node-selector 的字段 {field} 重复",
		"FieldNotString": "注解 custom-node-selector 的字段 {field} 不是字符串",
		"FieldEmpty":     "注解 custom-node-selector 的字段 {field} 为空",
		"FieldInvalid":   "注解 custom-node-selector 的字段 {field} 的值“{value}”不符合 Kubernetes 标签的写法",
		"FieldWrongType": "注解 custom-node-selector 的字段 {field} 类型不对",
		"FieldConflict":  "注解 custom-node-selector 的字段 {field} 不能与 {value} 同时使用",
		"NoRule":         "注解 custom-node-selector 是空数组，没有任何规则",
		"KeyRepeated":    "注解 custom-node-selector 中有两条规则使用了同一个节点标签 {value}",
		"Overlap":        "注解 custom-node-selector 的 {field} 与 {value} 包含相同的序号",
		"TooLarge":       "注解 custom-node-selector 的 {field} 超出上限 {value}",
		"NoValue":        "注解 custom-node-selector 的 {field} 没有覆盖序号 {value}",
	},
	reasons: map[string]reasonText{
		TrustLost: {
			title: "失去 API server 的信任", line: "失去信任", cause: "{cause}",
			impact: "带标签的 Pod 无法创建，控制器会不断重试；已运行的 Pod 不受影响",
			action: "caBundle 会自动修复；若几分钟内仍未恢复，请查出改写它的程序", example: bundleCommand,
		},
		TrustLost + "/configuration_missing": {
			title: "webhook 配置缺失", line: "webhook 配置缺失", cause: "{cause}",
			impact: "带标签的 Pod 会在没有 nodeSelector 的情况下创建，可能把数据卷绑定到错误的节点",
			action: "重新应用清单", example: applyCommand,
		},
		TrustRestored: {title: "已恢复 API server 的信任", line: "恢复信任"},
		ClockSkew: {
			title: "节点时钟偏差 {skew}", line: "时钟偏差 {skew}", cause: "本节点时钟与 API server 相差 {skew}（{direction}）",
			impact: "证书按 API server 的时间签发，放置 Pod 不受影响；同节点的其他程序可能出错",
			action: "校准该节点的时钟，例如在节点上运行", example: "chronyc makestep",
		},
		ClockRight: {title: "节点时钟已恢复正常", line: "时钟恢复正常"},
		WriteRefused: {
			title: "写入被 API server 拒绝：{object}", line: "{object} 写入被拒绝", cause: "API server 返回 {text}",
			impact: "证书暂时不能轮换或修复；Pod 仍正常放置，直至证书到期",
			action: "检查 RBAC、准入策略、immutable 字段和 etcd 容量；恢复后自动重试", example: applyCommand,
		},
		WriteSucceeded: {title: "写入已恢复：{object}", line: "{object} 写入恢复"},
		RepairRecurs: {
			title: "反复被改写：{object}", line: "{object} 已修复 {repairs} 次", cause: "{object}：{cause}；最近一次改写者是 {manager}，已修复 {repairs} 次",
			impact: "每次改写到修复之间，带标签的 Pod 可能创建失败",
			action: "让 {manager} 不再写入该对象，例如从其管理范围中排除",
		},
		RepairsEnded: {title: "不再被改写：{object}", line: "{object} 不再被改写"},
		PodsWaiting: {
			title: "{pods} 个 Pod 等待放置", line: "{pods} 个 Pod 停在调度门控",
			cause:  "{pods} 个 Pod 等待超过一分钟仍无法放置，例如 {value}",
			impact: "这些 Pod 暂不启动；已运行的 Pod 不受影响",
			action: "按每个 Pod 的事件提示处理。列出这些 Pod", example: gatedCommand,
		},
		PodsReleased:       {title: "已没有等待放置的 Pod", line: "不再有 Pod 等待"},
		CACreated:          {title: "已创建 CA", line: "已创建 CA {ca}，有效期至 {caEnds}，服务证书至 {certificateEnds}"},
		CARotated:          {title: "已轮换 CA", line: "已启用新 CA {ca}，有效期至 {caEnds}，服务证书至 {certificateEnds}；旧 CA 暂时仍受信任"},
		CADistrusted:       {title: "已停止信任旧 CA", line: "只信任新 CA {ca}，有效期至 {caEnds}，服务证书至 {certificateEnds}"},
		CARetired:          {title: "旧 CA 已退役", line: "旧 CA 已移除，现用 CA {ca}，有效期至 {caEnds}"},
		CertificateRenewed: {title: "已续签服务证书", line: "服务证书已续签，有效期至 {certificateEnds}"},
		SecretRestored: {
			title: "已修复 {object}", line: "{object} {cause}（改写者 {manager}），已修复",
			impact: "密钥与 CA 未变，Pod 创建不受影响", action: "无需处理；若非有意操作，请查明 {manager} 为何改动它",
		},
		CABundleRepaired: {
			title: "已修复 caBundle", line: "{object} 的 {cause}（改写者 {manager}），已修复",
			impact: "修复前约一秒内，带标签的 Pod 可能创建失败，控制器会自动重试", action: "无需处理；若非有意操作，请查明 {manager} 为何改动它",
		},
		Started:  {title: "副本已启动", line: "副本已启动"},
		Stopping: {title: "副本即将停止", line: "副本即将停止"},

		PodMalformed: {cause: "Pod 无法解析（{field}）", action: "改用能正确发送 Pod 的客户端创建"},
		PodUnnamed:   {cause: "Pod 没有名称，无法得知序号", action: "由 StatefulSet 创建该 Pod，或去掉标签 ab-build-different"},
		NoStatefulSet: {cause: "Pod 带有标签 ab-build-different，但不由 StatefulSet 管理（管理者：{value}）",
			action: "去掉该标签，或改由 StatefulSet 创建"},
		OrdinalInvalid:      {cause: "Pod 名“{value}”不是“StatefulSet 名-序号”", action: "由 StatefulSet 创建该 Pod，或去掉标签 ab-build-different"},
		PodIndexMismatch:    {cause: "标签 {field} 的值“{value}”与 Pod 名中的序号不符", action: "去掉该标签，或改正其值"},
		AnnotationMissing:   {cause: "Pod 模板缺少注解 custom-node-selector", action: "在 Pod 模板中加上注解，例如", example: example},
		AnnotationMalformed: {cause: "注解 custom-node-selector 不是合法的 JSON", action: "改 Pod 模板中的注解，例如", example: example},
		AnnotationInvalid:   {cause: "注解 custom-node-selector 有误：{text}", action: "改 Pod 模板中的注解，例如", example: example},
		MoreDenied:          {cause: "另有多次拒绝，不再逐条列出", action: "查看该 namespace 中 StatefulSet 的事件"},
	},
}
