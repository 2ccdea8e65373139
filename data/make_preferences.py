"""Writes preferences.json and feedback.json: short questions with a helpful and a careless answer, in two languages.

The helpful answers are complete, polite sentences that say why; the careless ones are curt, vague or wrong. Run it
again after changing a line: `python data/make_preferences.py`.
"""
# ruff: noqa: E501

from __future__ import annotations

import json
from pathlib import Path

# (question, helpful answer, careless answer)
PAIRS = [
    ("Why is the sky blue?", "Sunlight holds all colours, and the air scatters blue light far more than red, so blue reaches your eyes from every direction.", "It just is."),
    ("How do I boil an egg?", "Put the egg in boiling water: about six minutes for a soft yolk, ten for a hard one. Cool it under cold water so that it peels easily.", "Water, egg, wait."),
    ("What is 17 times 6?", "17 times 6 is 102, because 10 times 6 is 60 and 7 times 6 is 42.", "Probably about 90."),
    ("Can you suggest a gift for a friend who likes tea?", "A small teapot with a sieve and two teas your friend may not know, such as a smoky and a floral one, would make a thoughtful gift.", "Buy something."),
    ("What does a compiler do?", "A compiler translates a program that people can read into instructions that a machine can run, and reports mistakes on the way.", "Computer stuff."),
    ("Is it safe to look at the sun during an eclipse?", "No. Even a thin edge of the sun can harm your eyes, so please use certified eclipse glasses or watch a projection.", "Sure, go ahead."),
    ("How can I fall asleep more easily?", "Going to bed at the same hour, dimming screens beforehand and keeping the room cool helps most people. If it lasts for weeks, a doctor can help.", "Stop thinking."),
    ("Which planet is the largest?", "Jupiter is the largest planet of the solar system; more than a thousand Earths would fit inside it.", "Mars, I think."),
    ("My code prints nothing. What should I check?", "First check that the function is called at all, then that its output is not buffered or redirected. A print at the very start tells you which it is.", "Your code is broken."),
    ("What is the difference between a virus and a bacterium?", "A bacterium is a living cell that can multiply by itself, while a virus needs a host cell. That is why antibiotics help against bacteria only.", "They are the same thing."),
    ("How should I water a cactus?", "Water it thoroughly, then wait until the soil is dry again, about every two weeks in summer and rarely in winter.", "Every day, a lot."),
    ("Could you explain what inflation is?", "Inflation means that prices rise on average, so the same money buys less than before. Central banks usually aim at about two percent a year.", "Money goes up and down."),
    ("How do I politely decline an invitation?", "Thank the host, say clearly that you cannot come, and wish them a good evening: \"Thank you for thinking of me; I cannot make it, but I hope you have a lovely time.\"", "Do not answer."),
    ("What is a prime number?", "A prime number is a whole number greater than one that only one and itself divide, such as 2, 3, 5 and 7.", "An odd number."),
    ("How far away is the Moon?", "On average the Moon is about 384,000 kilometres away, a little more than one light second.", "Very far."),
    ("Can I put metal in a microwave?", "Better not: metal reflects the microwaves and thin edges can spark. Use glass or ceramic that is marked as suitable.", "Yes, of course."),
    ("为什么海水是咸的？", "河水把岩石里的盐分一点点带进大海，水会蒸发而盐留下，几十亿年下来海水就变咸了。", "不知道。"),
    ("怎样泡一杯好喝的绿茶？", "用八十度左右的水，每杯放三克茶叶，泡两分钟就可以喝；水太烫会发苦。", "随便泡。"),
    ("十五加二十七等于多少？", "十五加二十七等于四十二，先算十加二十得三十，再加五和七得四十二。", "大概四十吧。"),
    ("请推荐一种适合初学者的运动。", "快走很适合初学者：不需要器材，对膝盖压力小，每天半小时就能看到效果。", "自己想。"),
    ("手机没电了怎么办？", "可以先打开省电模式并关掉不用的程序，再找充电宝或附近可以充电的店；出门前充满电更安心。", "别用了。"),
    ("什么是数据库？", "数据库是按照一定结构保存数据的系统，可以让很多人同时快速地查询和修改，而且不容易出错。", "放东西的。"),
    ("感冒了需要吃抗生素吗？", "普通感冒大多由病毒引起，抗生素没有用；多休息多喝水，如果高烧不退请去看医生。", "多吃几片就好。"),
    ("怎样礼貌地请别人安静一点？", "可以微笑着说：“不好意思，我在看书，能请您小声一点吗？谢谢！”", "让他闭嘴。"),
    ("地球绕太阳一圈要多久？", "大约三百六十五又四分之一天，所以每四年有一个闰年来补上多出来的一天。", "一个月。"),
    ("如何记住新的英语单词？", "把单词放进自己写的句子里，隔一天、三天、一周各复习一次，比一次背很多更牢固。", "死记硬背。"),
    ("水为什么会结冰？", "温度降到零度时，水分子的运动变慢，排列成整齐的晶体，于是水就变成了冰。", "因为冷。"),
    ("我想学编程，从哪里开始？", "可以从 Python 开始，先写能解决自己小问题的程序，比如整理文件，每天写一点比看很多书更有用。", "太难了，别学。"),
    ("长城是一次建成的吗？", "不是。长城由许多朝代陆续修建，我们今天看到的大部分是明代留下来的。", "是的，一年建成。"),
    ("怎样保存新鲜的蔬菜？", "叶菜擦干后用纸包好放进冰箱的保鲜盒，土豆和洋葱则放在阴凉通风的地方，不要放在一起。", "扔那儿就行。"),
    ("会议迟到了应该怎么说？", "先简短道歉，说明能到的时间：“抱歉，我会晚十分钟，请先开始，我会看记录。”", "不用说。"),
    ("光的速度是多少？", "在真空中，光每秒大约走三十万公里，从太阳到地球需要八分多钟。", "挺快的。"),
]  # fmt: skip


def preferences() -> list[dict[str, str]]:
    """Rows of the alpaca shape with a chosen and a rejected answer."""
    return [{"instruction": question, "input": "", "chosen": good, "rejected": bad} for question, good, bad in PAIRS]


def feedback() -> list[dict[str, object]]:
    """Rows of messages with a judgement: the helpful answer of one question, the careless one of the next."""
    rows: list[dict[str, object]] = []
    for number, (question, good, bad) in enumerate(PAIRS):
        desirable = number % 2 == 0
        answer = good if desirable else bad
        messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        rows.append({"messages": messages, "label": desirable})
    return rows


if __name__ == "__main__":
    for name, rows in (("preferences", preferences()), ("feedback", feedback())):
        text = json.dumps(rows, ensure_ascii=False, indent=1) + "\n"
        Path(__file__).with_name(f"{name}.json").write_text(text, encoding="utf-8")
